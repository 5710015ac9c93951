import { LacreError } from '../lacre-error.ts';
import type { NodeVerdict, Withdrawal } from '../proto/lacre/v1/node_pb.ts';
import { findingsText } from './connection-fault.ts';
import type { Session, SessionListener } from './session.ts';

/** What the Workload API needs of a session. */
export type WorkloadSession = Pick<Session, 'ask' | 'release'> & {
  readonly opened: Pick<Session['opened'], 'quoteIntervalMs' | 'bundle'>;
};

/** An open stream of the Workload API, as the session sees it. */
export interface Subscriber {
  readonly containerId: string;
  /** Ask again: entries or bundle changed, or a new session began. */
  renew(): void;
  /** The stream is over, now. */
  end(error: LacreError): void;
}

/** DESIGN section 9: a session lost for longer than this many quote intervals ends every stream. */
const LOST_INTERVALS = 2;

/**
 * Between the Workload API and the session of the moment. Fails closed: without a session nothing new is served, and
 * streams end when none was attested again within twice the quote interval.
 */
export class SessionLink implements SessionListener {
  readonly #subscribers = new Set<Subscriber>();
  #session: WorkloadSession | undefined;
  #bundle: readonly Uint8Array[] = [];
  #reason = 'the agent is starting';
  #intervalMs = 15_000;
  #lost: NodeJS.Timeout | undefined;
  readonly #onBundle: (bundle: readonly Uint8Array[]) => void;
  readonly #onVerdict: (verdict: NodeVerdict) => void;

  /** @param hooks are told of every bundle and verdict, to keep and to log them. */
  constructor(hooks: {
    readonly bundle: (bundle: readonly Uint8Array[]) => void;
    readonly verdict: (verdict: NodeVerdict) => void;
  }) {
    this.#onBundle = hooks.bundle;
    this.#onVerdict = hooks.verdict;
  }

  /** DER certificates of the trust domain, as the server last said. */
  get bundle(): readonly Uint8Array[] {
    return this.#bundle;
  }

  get subscriberCount(): number {
    return this.#subscribers.size;
  }

  /** The session of the moment. Codes: agent.workload.unattested. */
  requireSession(): WorkloadSession {
    if (this.#session !== undefined) return this.#session;
    throw new LacreError('agent.workload.unattested', `the node is not attested: ${this.#reason}`);
  }

  add(subscriber: Subscriber): void {
    this.#subscribers.add(subscriber);
  }

  remove(subscriber: Subscriber): void {
    this.#subscribers.delete(subscriber);
  }

  /** A session has opened; every stream asks again in it. A former session is replaced. Codes: agent.protocol. */
  attach(session: WorkloadSession): void {
    requireBundle(session.opened.bundle);
    this.#session = session;
    this.#intervalMs = session.opened.quoteIntervalMs;
    this.bundleChanged(session.opened.bundle);
  }

  /** The session has ended, or could not be had; nothing new is served from now on. */
  detach(reason: LacreError): void {
    this.#session = undefined;
    this.#reason = reason.message;
    this.#lost ??= setTimeout(() => this.#endAll(), LOST_INTERVALS * this.#intervalMs);
  }

  /** Ends every stream now, and stops waiting: the agent stops. */
  stop(): void {
    clearTimeout(this.#lost);
    this.#session = undefined;
    this.#reason = 'the agent is stopping';
    this.#endAll();
  }

  withdrawn({ containerId, refusal }: Withdrawal): void {
    const sentence = `${refusal?.sentence ?? 'the identity was withdrawn'}${findingsText(refusal?.verdict)}`;
    const error = new LacreError('agent.workload.refused', `no identity issued: ${sentence}`, { containerId });
    for (const subscriber of [...this.#subscribers]) {
      if (containerId !== '' && subscriber.containerId !== containerId) continue;
      // Nothing is wrong with the workload: another SVID takes the place of the withdrawn one, or the stream ends.
      if (refusal?.retry === true) subscriber.renew();
      else subscriber.end(error);
    }
  }

  bundleChanged(bundle: readonly Uint8Array[]): void {
    requireBundle(bundle);
    this.#bundle = bundle;
    this.#onBundle(bundle);
    this.entriesChanged();
  }

  entriesChanged(): void {
    for (const subscriber of [...this.#subscribers]) subscriber.renew();
  }

  attested(verdict: NodeVerdict): void {
    clearTimeout(this.#lost);
    this.#lost = undefined;
    this.#onVerdict(verdict);
  }

  #endAll(): void {
    this.#lost = undefined;
    const error = new LacreError('agent.workload.unattested', `the node is not attested: ${this.#reason}`);
    for (const subscriber of [...this.#subscribers]) subscriber.end(error);
  }
}

function requireBundle(bundle: readonly Uint8Array[]): void {
  if (bundle.length > 0) return;
  throw new LacreError('agent.protocol', 'the server sent a trust bundle without certificates');
}
