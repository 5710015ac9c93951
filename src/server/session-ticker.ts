/** Parts of a period: so many sessions are looked at together. */
const PARTS = 5;

/** Looks after many sessions, each once a period, by one timer that runs while there are any. */
export class SessionTicker {
  readonly #parts: Set<() => void>[] = Array.from({ length: PARTS }, () => new Set());
  readonly #periodMs: number;
  #timer: NodeJS.Timeout | undefined;
  #next = 0;
  #size = 0;

  constructor(periodMs: number) {
    this.#periodMs = periodMs;
  }

  /** Calls `tick` once a period, which must not throw. Returns what ends it. */
  add(tick: () => void): () => void {
    const part = this.#parts.reduce((least, one) => (one.size < least.size ? one : least));
    part.add(tick);
    this.#size += 1;
    this.#timer ??= setInterval(() => this.#run(), this.#periodMs / PARTS);
    return () => this.#remove(part, tick);
  }

  #remove(part: Set<() => void>, tick: () => void): void {
    if (!part.delete(tick)) return;
    this.#size -= 1;
    if (this.#size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #run(): void {
    const part = this.#parts[this.#next] ?? new Set();
    this.#next = (this.#next + 1) % PARTS;
    for (const tick of [...part]) tick();
  }
}
