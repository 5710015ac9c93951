import { setTimeout as sleep } from 'node:timers/promises';
import { Code, ConnectError } from '@connectrpc/connect';
import type { Logger } from 'pino';
import { NodeVerifier, type RefusedHost } from '../proto/lacre/v1/spire_pb.ts';
import { Agent } from '../proto/spire/api/server/agent/v1/agent_pb.ts';
import type { UnixClient } from '../unix-client.ts';
import { statusOfCall } from './plugin-status.ts';

export interface HostWatchOptions {
  /** The Lacre server, by its verifier socket; closed with the watch. */
  readonly verifier: UnixClient;
  /** spire-server, by its API socket; closed with the watch. */
  readonly spire: UnixClient;
  readonly action: 'evict' | 'ban';
  readonly trustDomain: string;
  readonly log: Logger;
  /** How long after it was acted on an agent is left alone; only tests say another time. */
  readonly againMs?: number;
}

const RETRY_MS = 1_000;
const CALL_MS = 10_000;
/** The Lacre server tells of all hosts every ten seconds: without a word for this long it is lost. */
const SILENCE_MS = 30_000;
/** An attestation that was under way makes an agent after it was evicted: so a refused one is evicted again and again. */
const AGAIN_MS = 9_000;

/**
 * SPIRE does not look at a host again before its agent's SVID ends. This does: an agent whose host the Lacre server
 * refuses is evicted (it may attest anew, and is refused until the host is trusted) or banned, by SPIRE's server API.
 */
export class HostWatch {
  readonly #options: HostWatchOptions;
  readonly #stop = new AbortController();
  readonly #verifier: UnixClient;
  readonly #spire: UnixClient;
  /** Nodes that were acted on, with the time of the last; until they are trusted again. */
  readonly #done = new Map<string, number>();
  #running: Promise<void> = Promise.resolve();
  #fault = '';

  constructor(options: HostWatchOptions) {
    this.#options = options;
    this.#verifier = options.verifier;
    this.#spire = options.spire;
  }

  start(): void {
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    this.#verifier[Symbol.dispose]();
    this.#spire[Symbol.dispose]();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await this.#follow().catch((error: unknown) => this.#tell(statusOfCall(error).rawMessage));
      await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  /** Until the stream ends, or an agent could not be acted on: the next stream begins with all hosts again. */
  async #follow(): Promise<void> {
    using silence = new Silence(this.#stop.signal);
    const refused = new Set<string>();
    const looks = this.#verifier.service(NodeVerifier).watchHosts({}, { signal: silence.signal });
    for await (const { hosts, complete } of looks) {
      silence.broken();
      for (const host of hosts) {
        refused.add(host.spiffeId);
        await this.#act(host);
      }
      if (!complete) continue;
      for (const spiffeId of this.#done.keys()) if (!refused.has(spiffeId)) this.#done.delete(spiffeId);
      refused.clear();
      this.#tell('');
    }
    if (!this.#stop.signal.aborted) throw new ConnectError('the Lacre server ended the stream', Code.Unavailable);
  }

  async #act({ spiffeId, reason }: RefusedHost): Promise<void> {
    const { action, trustDomain, log, againMs = AGAIN_MS } = this.#options;
    const prefix = `spiffe://${trustDomain}`;
    const acted = this.#done.get(spiffeId);
    // Agents of other attestors are none of the Lacre server's business.
    if (
      !spiffeId.startsWith(`${prefix}/spire/agent/lacre_tpm/`) ||
      performance.now() - (acted ?? Number.NEGATIVE_INFINITY) < againMs
    )
      return;
    const id = { trustDomain, path: spiffeId.slice(prefix.length) };
    const agents = this.#spire.service(Agent);
    try {
      if (action === 'ban') await agents.banAgent({ id }, { timeoutMs: CALL_MS });
      else await agents.deleteAgent({ id }, { timeoutMs: CALL_MS });
      const done = action === 'ban' ? 'banned' : 'evicted';
      if (action === 'evict' || acted === undefined)
        log.warn({ spiffeId, action }, `agent ${spiffeId} is ${done}: ${reason}`);
    } catch (error) {
      // SPIRE knows no such agent: there is nothing to evict.
      const { code, rawMessage } = ConnectError.from(error);
      if (code !== Code.NotFound)
        throw new ConnectError(`spire-server did not ${action} ${spiffeId}: ${rawMessage}`, code);
    }
    this.#done.set(spiffeId, performance.now());
  }

  #tell(fault: string): void {
    if (fault !== this.#fault && !this.#stop.signal.aborted) {
      const { log } = this.#options;
      if (fault === '') log.info('hosts are looked at again');
      else log.warn(`hosts cannot be looked at, so no agent is evicted: ${fault}`);
    }
    this.#fault = fault;
  }
}

/** A signal that aborts where nothing breaks the silence. */
class Silence implements Disposable {
  readonly signal: AbortSignal;
  readonly #timer: NodeJS.Timeout;

  constructor(stop: AbortSignal) {
    const silent = new AbortController();
    this.signal = AbortSignal.any([stop, silent.signal]);
    this.#timer = setTimeout(() => silent.abort(), SILENCE_MS).unref();
  }

  broken(): void {
    this.#timer.refresh();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}
