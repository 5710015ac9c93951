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

/** A request that was answered with identities and not released: what a withdrawal takes back. */
export interface Subscription {
  readonly request: BatchRequest;
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

/** The requests of one session, by id. */
export class Subscriptions {
  readonly #byId = new Map<bigint, Subscription>();

  /** Requests that wait for no answer any more, and could be asked anew, are not kept: only a live id is taken. */
  admit(id: bigint): void {
    if (this.#byId.has(id)) throw new LacreError('server.protocol', `request ${id} was answered already`);
    if (this.#byId.size >= LIMITS.subscriptionsPerNode) {
      throw new LacreError('server.limit', `the node holds ${this.#byId.size} answered requests and releases none`);
    }
  }

  keep(subscription: Subscription): void {
    this.#byId.set(subscription.request.id, subscription);
  }

  get(id: bigint): Subscription | undefined {
    return this.#byId.get(id);
  }

  all(): Subscription[] {
    return [...this.#byId.values()];
  }

  ofContainer(containerId: string): Subscription[] {
    return this.all().filter((subscription) => subscription.containerId === containerId);
  }

  /** Leaf of a request that waits for its confirmation. */
  confirmable(id: bigint): Uint8Array | undefined {
    const subscription = this.#byId.get(id);
    return subscription?.confirmByNonce === undefined ? undefined : subscription.request.leaf;
  }

  confirm(id: bigint): void {
    const subscription = this.#byId.get(id);
    if (subscription === undefined) return;
    if (subscription.released) this.#byId.delete(id);
    else this.#byId.set(id, { ...subscription, confirmByNonce: undefined });
  }

  /** Those that evidence with this nonce had to confirm, and did not. */
  overdue(nonceNumber: number): Subscription[] {
    return this.all().filter(({ confirmByNonce }) => confirmByNonce !== undefined && confirmByNonce <= nonceNumber);
  }

  release(id: bigint): void {
    const subscription = this.#byId.get(id);
    if (subscription?.confirmByNonce === undefined) this.#byId.delete(id);
    else this.#byId.set(id, { ...subscription, released: true });
  }

  drop(id: bigint): void {
    this.#byId.delete(id);
  }
}
