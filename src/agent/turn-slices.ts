/** The work of one turn ends with the piece that is under way after this time. */
const SLICE_MS = 4;

/**
 * Work of many callers in slices, in the order in which it came: between two slices the event loop does what else there
 * is, and what the server answered to the first is not held up by the last.
 */
export class TurnSlices {
  #waiting: (() => void)[] = [];
  #next = 0;

  /** Does it in a later turn of the event loop. It must not throw. */
  add(work: () => void): void {
    this.#waiting.push(work);
    if (this.#waiting.length - this.#next === 1) setImmediate(() => this.#turn());
  }

  #turn(): void {
    const endMs = performance.now() + SLICE_MS;
    do {
      this.#waiting[this.#next]?.();
      this.#next += 1;
    } while (this.#next < this.#waiting.length && performance.now() < endMs);
    if (this.#next < this.#waiting.length) {
      setImmediate(() => this.#turn());
      return;
    }
    this.#waiting = [];
    this.#next = 0;
  }
}
