/** Milliseconds that each step took, by its name; of one that was done again, those of all times. */
export type Timings = Record<string, number>;

/** A line for each step, for a report. */
export function timingLines(timings: Timings): string[] {
  return Object.entries(timings).map(([name, ms]) => `${name.padEnd(14)} ${(ms / 1000).toFixed(1).padStart(6)} s`);
}

/** Says on stderr what happens, with the time since the start, and keeps how long each step took. */
export class Progress {
  readonly #startedAt = performance.now();
  readonly #timings: Timings = {};
  readonly #write: (text: string) => void;

  constructor(write: (text: string) => void = (text) => process.stderr.write(text)) {
    this.#write = write;
  }

  say(text: string): void {
    const seconds = ((performance.now() - this.#startedAt) / 1000).toFixed(1);
    this.#write(`[${seconds.padStart(5)} s] ${text}\n`);
  }

  /** Runs a step: says its name at once, and its time when it is over. */
  async step<T>(name: string, sentence: string, work: () => Promise<T>): Promise<T> {
    this.say(sentence);
    const startedAt = performance.now();
    try {
      return await work();
    } finally {
      this.#timings[name] = (this.#timings[name] ?? 0) + Math.round(performance.now() - startedAt);
    }
  }

  note(name: string, ms: number): void {
    this.#timings[name] = Math.round(ms);
  }

  timings(): Timings {
    return { ...this.#timings, total: Math.round(performance.now() - this.#startedAt) };
  }
}
