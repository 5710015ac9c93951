import { setTimeout as sleep } from 'node:timers/promises';

/** Waits that double from `firstMs` to `mostMs`, each shortened at random by up to half, so that many agents don't come at once. */
export class BackOff {
  readonly #firstMs: number;
  readonly #mostMs: number;
  readonly #random: () => number;
  #nextMs: number;

  constructor(options: { firstMs?: number; mostMs?: number; random?: () => number } = {}) {
    this.#firstMs = options.firstMs ?? 1_000;
    this.#mostMs = options.mostMs ?? 60_000;
    this.#random = options.random ?? Math.random;
    this.#nextMs = this.#firstMs;
  }

  /** After something went well: the next wait is the shortest again. */
  reset(): void {
    this.#nextMs = this.#firstMs;
  }

  /** The next wait in milliseconds. */
  next(): number {
    const fullMs = this.#nextMs;
    this.#nextMs = Math.min(this.#mostMs, fullMs * 2);
    return fullMs * (1 - this.#random() / 2);
  }

  /** Waits, or returns at once when `signal` aborts. */
  async wait(delayMs: number, signal: AbortSignal): Promise<void> {
    await sleep(delayMs, undefined, { signal }).catch(() => undefined);
  }
}
