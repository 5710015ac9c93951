import type { Nonce } from '../proto/lacre/v1/node_pb.ts';

/** A nonce, and until when the server takes it, by the supply's clock. */
export interface HeldNonce {
  readonly value: Uint8Array;
  readonly diesAtMs: number;
}

/** More than the server ever hands out ahead. */
const MAX_HELD = 8;

/** Nonces that the server sent ahead. Evidence is as old as its nonce, so the newest is taken first. */
export class NonceSupply {
  readonly #held: HeldNonce[] = [];
  readonly #now: () => number;

  /** @param now monotonic milliseconds. */
  constructor(now: () => number) {
    this.#now = now;
  }

  add(nonces: readonly Nonce[]): void {
    for (const { value, lifetimeMs } of nonces) {
      this.#held.push({ value, diesAtMs: this.#now() + lifetimeMs });
      if (this.#held.length > MAX_HELD) this.#held.shift();
    }
  }

  /** The newest nonce that still lives `neededMs` from now; it is handed out once. */
  take(neededMs: number): HeldNonce | undefined {
    const now = this.#now();
    while (this.#held[0] !== undefined && this.#held[0].diesAtMs <= now) this.#held.shift();
    const newest = this.#held.at(-1);
    if (newest === undefined || newest.diesAtMs - now < neededMs) return undefined;
    return this.#held.pop();
  }
}
