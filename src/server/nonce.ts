import { toHex } from '../bytes/hex.ts';
import { LacreError } from '../lacre-error.ts';

/** DESIGN section 8: at most two at a time. */
const OUTSTANDING = 2;
const LONGEST_LIFETIME_MS = 5_000;
/** A nonce that lives less is of no use to a discrete TPM, whose quote takes up to a second. */
const SHORTEST_LIFETIME_MS = 1_000;

export interface OpenNonce {
  /** 32 random bytes. */
  readonly value: Uint8Array;
  /** When it was made: evidence is as old as its nonce. */
  readonly madeAt: Date;
  /** The same by a clock that nobody sets (performance.now). */
  readonly madeAtSteadyMs: number;
  readonly lifetimeMs: number;
  /** Counts up within a session: tells whether something was sent before this nonce. */
  readonly number: number;
}

/**
 * The nonces of one session. Each is random, of 32 bytes, used once, and lives min(5 s, a quarter of the smallest
 * evidence age that any entry asks).
 */
export class NonceBook {
  readonly #open = new Map<string, OpenNonce>();
  readonly #random: (length: number) => Uint8Array;
  readonly #steady: () => number;
  #made = 0;

  /** @param steady a clock in milliseconds that is never set: whoever sets the server's clock back makes nothing live longer. */
  constructor(random: (length: number) => Uint8Array, steady: () => number = () => performance.now()) {
    this.#random = random;
    this.#steady = steady;
  }

  /** Number that the next nonce will have. */
  get next(): number {
    return this.#made;
  }

  /** After one was used: makes as many as there is room for, so that a busy agent never waits for one. */
  refill(now: Date, smallestEvidenceAgeMs: number): OpenNonce[] {
    this.#forget(now);
    const made: OpenNonce[] = [];
    while (this.#open.size < OUTSTANDING) made.push(this.#make(now, smallestEvidenceAgeMs));
    return made;
  }

  /** Asked for: makes as many as there is room for, in place of those that have lived half their life. */
  renew(now: Date, smallestEvidenceAgeMs: number): OpenNonce[] {
    for (const [key, nonce] of this.#open) if (!this.#isYoung(nonce, now)) this.#open.delete(key);
    return this.refill(now, smallestEvidenceAgeMs);
  }

  /**
   * Takes a nonce out of the book, so that it is never taken again.
   * Codes: server.nonce.unknown (never made in this session, used already, or expired).
   */
  take(value: Uint8Array, now: Date): OpenNonce {
    const nonce = value.length === 32 ? this.#open.get(toHex(value)) : undefined;
    if (nonce !== undefined) this.#open.delete(toHex(value));
    if (nonce === undefined || this.#expired(nonce, now)) {
      throw new LacreError(
        'server.nonce.unknown',
        'the nonce of this evidence was never given out on this connection, was used already, or has expired',
        { length: value.length },
      );
    }
    return nonce;
  }

  #make(now: Date, smallestEvidenceAgeMs: number): OpenNonce {
    const value = this.#random(32);
    const lifetimeMs = nonceLifetimeMs(smallestEvidenceAgeMs);
    const nonce: OpenNonce = { value, madeAt: now, madeAtSteadyMs: this.#steady(), lifetimeMs, number: this.#made++ };
    this.#open.set(toHex(value), nonce);
    return nonce;
  }

  #forget(now: Date): void {
    for (const [key, nonce] of this.#open) if (this.#expired(nonce, now)) this.#open.delete(key);
  }

  #isYoung(nonce: OpenNonce, now: Date): boolean {
    return !this.#expired(nonce, now) && this.#ageMs(nonce, now) < nonce.lifetimeMs / 2;
  }

  #expired(nonce: OpenNonce, now: Date): boolean {
    return now.getTime() < nonce.madeAt.getTime() || this.#ageMs(nonce, now) > nonce.lifetimeMs;
  }

  #ageMs(nonce: OpenNonce, now: Date): number {
    return Math.max(now.getTime() - nonce.madeAt.getTime(), this.#steady() - nonce.madeAtSteadyMs);
  }
}

export function nonceLifetimeMs(smallestEvidenceAgeMs: number): number {
  const quarter = Math.floor(smallestEvidenceAgeMs / 4);
  return Math.max(SHORTEST_LIFETIME_MS, Math.min(LONGEST_LIFETIME_MS, quarter));
}
