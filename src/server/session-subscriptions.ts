import { LacreError } from '../lacre-error.ts';
import type { BatchRequest } from './batch.ts';
import { LIMITS } from './limits.ts';

/** One SVID that a request got. */
export interface IssuedIdentity {
  readonly serialHex: string;
  readonly spiffeId: string;
  readonly entryId: string;
  readonly expiresAt: Date;
}

/** Of a request what its holder is judged by again, and confirmed by. */
export interface KeptRequest extends Pick<BatchRequest, 'id' | 'kind'> {
  /** Empty where it waits for no confirmation. */
  readonly leaf: Uint8Array;
  readonly record: Pick<BatchRequest['record'], 'claim'>;
}

/** A request that was answered with identities and not released: what a withdrawal takes back. */
export interface Subscription {
  readonly request: KeptRequest;
  readonly containerId: string;
  readonly identities: readonly IssuedIdentity[];
  /**
   * Answered on reused evidence: number of the first nonce made after the answer. Evidence with this nonce or a later
   * one must confirm the request. Undefined: a quote covers the request.
   */
  readonly confirmByNonce: number | undefined;
  /** The stream ended before the request was confirmed: kept until it is, or is withdrawn. */
  readonly released: boolean;
}

/** The requests of one session, by id and by container; and which containers hold an SVID that has not ended. */
export class Subscriptions {
  readonly #byId = new Map<bigint, Subscription>();
  readonly #byContainer = new Map<string, Set<bigint>>();
  /** Withdrawn before they were confirmed: evidence that confirms them may be on its way, and its tree holds their leaves. */
  readonly #unconfirmed = new Map<bigint, Subscription>();
  /** Latest end of what a container holds, in this session or from an earlier one: Unix milliseconds. */
  readonly #heldUntil = new Map<string, number>();

  /** What was asked of a container's identities when they were looked up in the store last: a digest. */
  readonly #met = new Map<string, string>();

  /** Requests that wait for no answer any more, and could be asked anew, are not kept: only a live id is taken. */
  admit(id: bigint): void {
    if (this.#byId.has(id) || this.#unconfirmed.has(id))
      throw new LacreError('server.protocol', `request ${id} was answered already`);
    if (this.#byId.size >= LIMITS.subscriptionsPerNode) {
      throw new LacreError('server.limit', `the node holds ${this.#byId.size} answered requests and releases none`);
    }
  }

  keep(subscription: Subscription): void {
    const { request, containerId, identities } = subscription;
    this.#byId.set(request.id, subscription);
    const ids = this.#byContainer.get(containerId) ?? new Set();
    this.#byContainer.set(containerId, ids.add(request.id));
    for (const { expiresAt } of identities) this.hold(containerId, expiresAt);
  }

  /** A container has an SVID until this time, whoever holds a stream for it. */
  hold(containerId: string, until: Date): void {
    this.#heldUntil.set(containerId, Math.max(until.getTime(), this.#heldUntil.get(containerId) ?? 0));
  }

  /** Whether the same was asked the last time that a container's identities were looked up, and all met it. */
  isMet(containerId: string, asked: string): boolean {
    return this.#met.get(containerId) === asked;
  }

  setMet(containerId: string, asked: string): void {
    this.#met.set(containerId, asked);
  }

  get(id: bigint): Subscription | undefined {
    return this.#byId.get(id);
  }

  all(): Subscription[] {
    return [...this.#byId.values()];
  }

  ofContainer(containerId: string): Subscription[] {
    return [...(this.#byContainer.get(containerId) ?? [])].flatMap((id) => this.#byId.get(id) ?? []);
  }

  /** Containers with something to lose: an open request, or an SVID that has not ended. */
  containers(now: Date): string[] {
    for (const [id, until] of this.#heldUntil) {
      if (until > now.getTime()) continue;
      this.#heldUntil.delete(id);
      this.#met.delete(id);
    }
    return [...new Set([...this.#byContainer.keys(), ...this.#heldUntil.keys()])];
  }

  /** What the container had is withdrawn, or the container is gone. */
  forget(containerId: string): void {
    for (const id of this.#byContainer.get(containerId) ?? []) {
      const subscription = this.#byId.get(id);
      if (subscription?.confirmByNonce !== undefined) this.#unconfirmed.set(id, subscription);
      this.#byId.delete(id);
    }
    this.#byContainer.delete(containerId);
    this.#heldUntil.delete(containerId);
    this.#met.delete(containerId);
  }

  /** Leaf of a request that waits for its confirmation. */
  confirmable(id: bigint): Uint8Array | undefined {
    const subscription = this.#byId.get(id) ?? this.#unconfirmed.get(id);
    return subscription?.confirmByNonce === undefined ? undefined : subscription.request.leaf;
  }

  confirm(id: bigint): void {
    const subscription = this.#byId.get(id);
    if (subscription === undefined) return;
    if (subscription.released) this.drop(id);
    else this.#byId.set(id, { ...subscription, confirmByNonce: undefined });
  }

  /** Those that evidence with this nonce had to confirm, and did not. */
  overdue(nonceNumber: number): Subscription[] {
    for (const [id, { confirmByNonce }] of this.#unconfirmed) {
      if (confirmByNonce === undefined || confirmByNonce <= nonceNumber) this.#unconfirmed.delete(id);
    }
    return this.all().filter(({ confirmByNonce }) => confirmByNonce !== undefined && confirmByNonce <= nonceNumber);
  }

  release(id: bigint): void {
    const subscription = this.#byId.get(id);
    if (subscription?.confirmByNonce === undefined) this.drop(id);
    else this.#byId.set(id, { ...subscription, released: true });
  }

  drop(id: bigint): void {
    const containerId = this.#byId.get(id)?.containerId ?? '';
    this.#byId.delete(id);
    const ids = this.#byContainer.get(containerId);
    ids?.delete(id);
    if (ids?.size === 0) this.#byContainer.delete(containerId);
  }
}
