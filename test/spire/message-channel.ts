/** Messages of one direction of a stream. */
export class MessageChannel<T> implements AsyncIterable<T> {
  readonly #queue: T[] = [];
  #wake: () => void = () => undefined;
  #ended = false;

  push(message: T): void {
    this.#queue.push(message);
    this.#wake();
  }

  end(): void {
    this.#ended = true;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<T> {
    for (;;) {
      const next = this.#queue.shift();
      if (next !== undefined) yield next;
      else if (this.#ended) return;
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }
}
