import { toHex } from '../bytes/hex.ts';
import { LacreError } from '../lacre-error.ts';

/** DESIGN section 8: at most two at a time. */
const OUTSTANDING = 2;
const LONGEST_LIFETIME_MS = 5_000;
/** A nonce that lives less is of no use to a discrete TPM, whose quote takes up to a second. */
const SHORTEST_LIFETIME_MS = 1_000;

export interface OpenNonce {
  readonly value: Uint8Array;
  /** When it was made: evidence is as old as its nonce. */
  readonly madeAt: Date;
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
  readonly #random: (bytes: number) => Uint8Array;
  #made = 0;

  constructor(random: (bytes: number) => Uint8Array) {
    this.#random = random;
  }

  /** Number that the next nonce will have. */
  get next(): number {
    return this.#made;
  }

  /** Drops what has expired and makes one nonce where there is room; undefined where two are outstanding. */
  refill(now: Date, smallestEvidenceAgeMs: number): OpenNonce | undefined {
    for (const [key, nonce] of this.#open) if (expired(nonce, now)) this.#open.delete(key);
    if (this.#open.size >= OUTSTANDING) return undefined;
    const nonce: OpenNonce = {
      value: this.#random(32),
      madeAt: now,
      lifetimeMs: nonceLifetimeMs(smallestEvidenceAgeMs),
      number: this.#made++,
    };
    this.#open.set(toHex(nonce.value), nonce);
    return nonce;
  }

  /**
   * Takes a nonce out of the book, so that it is never taken again.
   * Codes: server.nonce.unknown (never made in this session, used already, or expired).
   */
  take(value: Uint8Array, now: Date): OpenNonce {
    const key = toHex(value.subarray(0, 32));
    const nonce = value.length === 32 ? this.#open.get(key) : undefined;
    if (nonce !== undefined) this.#open.delete(key);
    if (nonce === undefined || expired(nonce, now)) {
      throw new LacreError(
        'server.nonce.unknown',
        'the nonce of this evidence was never given out on this connection, was used already, or has expired',
        { length: value.length },
      );
    }
    return nonce;
  }
}

export function nonceLifetimeMs(smallestEvidenceAgeMs: number): number {
  const quarter = Math.floor(smallestEvidenceAgeMs / 4);
  return Math.max(SHORTEST_LIFETIME_MS, Math.min(LONGEST_LIFETIME_MS, quarter));
}

function expired(nonce: OpenNonce, now: Date): boolean {
  const ageMs = now.getTime() - nonce.madeAt.getTime();
  return ageMs < 0 || ageMs > nonce.lifetimeMs;
}
