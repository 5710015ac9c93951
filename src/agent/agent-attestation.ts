import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { LacreError } from '../lacre-error.ts';
import type { BackOff } from './back-off.ts';
import type { AgentConfig } from './config.ts';
import { type AgentIdentity, connectServer } from './connection.ts';
import { enrol, type NodeKeys, prepareKeys } from './enrolment.ts';
import type { NodeContainers } from './evidence.ts';
import { readEventLog } from './evidence-observation.ts';
import type { AttestationTpm } from './evidence-tpm.ts';
import { Session } from './session.ts';
import type { SessionLink } from './session-link.ts';
import type { StateDir } from './state-dir.ts';

export interface AttestationDeps {
  readonly config: AgentConfig;
  readonly tpm: AttestationTpm;
  readonly state: StateDir;
  readonly containers: NodeContainers;
  readonly link: SessionLink;
  readonly backOff: BackOff;
  readonly log: Logger;
  /** Milliseconds after which the agent's SVID is renewed; by default at two thirds of its life. */
  readonly renewalMs?: ((identity: AgentIdentity) => number) | undefined;
}

/** An SVID with less than this left is not connected with. */
const SPARE_MS = 30_000;
const RENEW_RETRY_MS = 10_000;

/**
 * Keeps the node attested: enrols, holds a session, and does both again by itself whenever one ends. A lost connection
 * is taken up with the same SVID; everything else begins with enrolment.
 */
export class Attestation {
  readonly #deps: AttestationDeps;
  #keys: NodeKeys | undefined;
  #identity: AgentIdentity | undefined;

  constructor(deps: AttestationDeps) {
    this.#deps = deps;
  }

  /** Runs until `signal` aborts. Never rejects: what went wrong is logged, and tried again. */
  async run(signal: AbortSignal): Promise<void> {
    const { link, backOff, log } = this.#deps;
    while (!signal.aborted) {
      try {
        await this.#attested(signal);
      } catch (error) {
        if (signal.aborted) return;
        const fault =
          error instanceof LacreError
            ? error
            : new LacreError('agent.session.lost', String(error), {}, { cause: error });
        link.detach(fault);
        this.#forgetAfter(fault);
        const waitMs = backOff.next();
        log.warn(
          { code: fault.code, ...fault.details },
          `${fault.message}; next try in ${(waitMs / 1000).toFixed(1)} s`,
        );
        await backOff.wait(waitMs, signal);
      }
    }
  }

  /** Holds sessions, the next before the former ends, until one is lost. */
  async #attested(signal: AbortSignal): Promise<void> {
    const { log } = this.#deps;
    let session = await this.#establish(signal);
    for (let former: Session | undefined; ; ) {
      this.#attach(session);
      former?.close();
      log.info({ spiffeId: session.opened.spiffeId }, 'the session with the server is open');
      const next = await this.#successor(session, signal);
      if (next === undefined) return;
      former = session;
      session = next;
    }
  }

  #attach(session: Session): void {
    try {
      this.#deps.link.attach(session);
    } catch (error) {
      session.close();
      throw error;
    }
  }

  /** The session that takes over when the agent's SVID is at two thirds of its life; undefined: the agent stops. */
  async #successor(session: Session, signal: AbortSignal): Promise<Session | undefined> {
    const { log } = this.#deps;
    const stop = new AbortController();
    const either = AbortSignal.any([signal, stop.signal]);
    session.ended.then(() => stop.abort());
    let waitMs = this.#untilRenewalMs();
    for (;;) {
      await sleep(waitMs, undefined, { signal: either }).catch(() => undefined);
      if (signal.aborted) {
        session.close();
        return undefined;
      }
      if (stop.signal.aborted) throw await session.ended;
      try {
        this.#identity = undefined;
        return await this.#establish(either);
      } catch (error) {
        log.warn({ err: error }, "the agent's SVID could not be renewed; the session goes on");
        waitMs = RENEW_RETRY_MS;
      }
    }
  }

  async #establish(signal: AbortSignal): Promise<Session> {
    const keys = await this.#requireKeys();
    const held = this.#identity;
    if (held !== undefined && held.expiresAt.getTime() - Date.now() > SPARE_MS) return this.#open(keys, held);
    const { log } = this.#deps;
    const identity = await enrol(this.#deps, keys, signal);
    log.info({ spiffeId: identity.spiffeId, expiresAt: identity.expiresAt.toISOString() }, 'the node is enrolled');
    this.#identity = identity;
    return this.#open(keys, identity);
  }

  async #open({ akName }: NodeKeys, identity: AgentIdentity): Promise<Session> {
    const { config, tpm, state, containers, link, log } = this.#deps;
    const eventLog = await readEventLog(config.eventLog);
    const connection = await connectServer({ ...config, bundle: await state.bundle(), identity });
    const { measurementList } = config;
    return Session.open({ connection, tpm, akName, eventLog, measurementList, containers, listener: link, log });
  }

  async #requireKeys(): Promise<NodeKeys> {
    this.#keys ??= await prepareKeys(this.#deps);
    return this.#keys;
  }

  /** What this fault leaves of no use. */
  #forgetAfter({ code }: LacreError): void {
    if (code !== 'agent.session.lost' && code !== 'agent.server.unreachable') this.#identity = undefined;
    if (code.startsWith('agent.tpm.') || code.startsWith('tpm.')) this.#keys = undefined;
  }

  #untilRenewalMs(): number {
    const identity = this.#identity;
    if (identity === undefined) return RENEW_RETRY_MS;
    const dueMs = identity.issuedAt.getTime() + (this.#deps.renewalMs ?? twoThirdsOf)(identity);
    return Math.max(1_000, dueMs - Date.now());
  }
}

function twoThirdsOf({ issuedAt, expiresAt }: AgentIdentity): number {
  return ((expiresAt.getTime() - issuedAt.getTime()) * 2) / 3;
}
