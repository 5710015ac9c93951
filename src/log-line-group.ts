/** A write takes no more at once. */
const MAX_TEXT = 65_536;

/**
 * Lines of one turn as one write: each write of a crowd's lines by itself costs as much as half a signature. They are
 * written before anything else happens in the event loop.
 */
export class LineGroup {
  readonly #write: (text: string) => unknown;
  #waiting = '';

  constructor(write: (text: string) => unknown) {
    this.#write = write;
  }

  add(line: string): void {
    if (this.#waiting === '') queueMicrotask(() => this.flush());
    this.#waiting += line;
    if (this.#waiting.length >= MAX_TEXT) this.flush();
  }

  /** Writes what waits, if anything does. */
  flush(): void {
    const text = this.#waiting;
    this.#waiting = '';
    if (text !== '') this.#write(text);
  }
}
