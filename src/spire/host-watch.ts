import { setTimeout as sleep } from 'node:timers/promises';
import { Code, ConnectError } from '@connectrpc/connect';
import type { Logger } from 'pino';
import { Admin, type NodeInfo } from '../proto/lacre/v1/admin_pb.ts';
import { Agent } from '../proto/spire/api/server/agent/v1/agent_pb.ts';
import { UnixClient } from './unix-client.ts';

export interface HostWatchOptions {
  /** The Lacre server's admin socket. */
  readonly admin: string;
  /** spire-server's API socket. */
  readonly spire: string;
  readonly action: 'evict' | 'ban';
  readonly trustDomain: string;
  readonly log: Logger;
  readonly intervalMs?: number;
}

const INTERVAL_MS = 10_000;
const EVENT_PAUSE_MS = 100;
const CALL_MS = 10_000;

/**
 * SPIRE does not look at a host again before its agent's SVID ends. This does: an agent whose host the Lacre server
 * refuses is evicted (it may attest anew, and is refused until the host is trusted) or banned, by SPIRE's server API.
 */
export class HostWatch {
  readonly #options: HostWatchOptions;
  readonly #stop = new AbortController();
  readonly #admin: UnixClient;
  readonly #spire: UnixClient;
  /** Nodes that were acted on, until they are trusted again. */
  readonly #done = new Set<string>();
  #wake: () => void = () => undefined;
  #running: Promise<unknown> = Promise.resolve();
  #fault = '';

  constructor(options: HostWatchOptions) {
    this.#options = options;
    this.#admin = new UnixClient(options.admin);
    this.#spire = new UnixClient(options.spire);
  }

  start(): void {
    this.#running = Promise.all([this.#poll(), this.#listen()]);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    this.#wake();
    this.#admin[Symbol.dispose]();
    this.#spire[Symbol.dispose]();
    await this.#running;
  }

  /** Every interval, and soon after the server told anything of a node. */
  async #poll(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await this.#look().then(
        () => this.#tell(''),
        (error: unknown) => this.#tell(ConnectError.from(error).message),
      );
      const told = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      const timer = new AbortController();
      const either = AbortSignal.any([signal, timer.signal]);
      await Promise.race([
        told,
        sleep(this.#options.intervalMs ?? INTERVAL_MS, undefined, { signal: either }).catch(() => undefined),
      ]);
      timer.abort();
      await sleep(EVENT_PAUSE_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  async #listen(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        for await (const { node } of this.#admin.service(Admin).watch({}, { signal })) if (node !== '') this.#wake();
      } catch {
        // The poll tells what is wrong.
      }
      await sleep(1_000, undefined, { signal }).catch(() => undefined);
    }
  }

  async #look(): Promise<void> {
    const { nodes } = await this.#admin.service(Admin).listNodes({}, { timeoutMs: CALL_MS });
    for (const node of nodes) {
      if (!hostFailed(node)) this.#done.delete(node.spiffeId);
      else if (!this.#done.has(node.spiffeId)) await this.#act(node);
    }
  }

  async #act(node: NodeInfo): Promise<void> {
    const { action, trustDomain, log } = this.#options;
    const prefix = `spiffe://${trustDomain}`;
    if (!node.spiffeId.startsWith(`${prefix}/`)) return;
    const id = { trustDomain, path: node.spiffeId.slice(prefix.length) };
    const agents = this.#spire.service(Agent);
    try {
      if (action === 'ban') await agents.banAgent({ id }, { timeoutMs: CALL_MS });
      else await agents.deleteAgent({ id }, { timeoutMs: CALL_MS });
      const why = node.host?.findings.find(({ fatal }) => fatal)?.detail ?? 'its host is refused';
      log.warn(
        { spiffeId: node.spiffeId, action },
        `agent ${node.spiffeId} is ${action === 'ban' ? 'banned' : 'evicted'}: ${why}`,
      );
    } catch (error) {
      // SPIRE knows no such agent: there is nothing to evict.
      if (!(error instanceof ConnectError) || error.code !== Code.NotFound) throw error;
    }
    this.#done.add(node.spiffeId);
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

function hostFailed({ state, host }: NodeInfo): boolean {
  return state === 'refused' || host?.trusted === false;
}
