import { LacreError } from '../lacre-error.ts';

/**
 * What waits to be sent on one stream. A reader that lets more than `limit` messages wait ends the stream
 * (server.limit): the server never buffers for a peer without bound.
 */
export class Outbox<T> {
  readonly #queue: T[] = [];
  readonly #limit: number;
  #head = 0;
  #wake: (() => void) | undefined;
  #end: { readonly error?: unknown } | undefined;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get ended(): boolean {
    return this.#end !== undefined;
  }

  /** Queues a message; after the end it is dropped. */
  push(message: T): void {
    if (this.#end !== undefined) return;
    if (this.#queue.length - this.#head >= this.#limit) {
      this.fail(new LacreError('server.limit', `the peer does not read: ${this.#limit} messages wait for it`));
      return;
    }
    this.#queue.push(message);
    this.#wake?.();
  }

  /** Ends the stream after what is queued. */
  finish(): void {
    this.#end ??= {};
    this.#wake?.();
  }

  /** Ends the stream with an error; what is queued is sent before it. The first end counts. */
  fail(error: unknown): void {
    this.#end ??= { error };
    this.#wake?.();
  }

  /**
   * Writes what is queued until the end, which it rejects with where that is an error.
   * @param write returns what is to be waited for before the next message, if anything
   */
  async drainTo(write: (message: T) => Promise<void> | undefined): Promise<void> {
    for (;;) {
      const message = this.#queue[this.#head];
      if (message !== undefined) {
        this.#shift();
        const taken = write(message);
        if (taken !== undefined) await taken;
      } else if (this.#end !== undefined) {
        if (this.#end.error !== undefined) throw this.#end.error;
        return;
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }

  #shift(): void {
    this.#head += 1;
    if (this.#head < 1024 && this.#head < this.#queue.length) return;
    this.#queue.splice(0, this.#head);
    this.#head = 0;
  }
}
