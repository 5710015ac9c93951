import { LacreError } from '../lacre-error.ts';

interface Queued<T> {
  readonly message: T;
  sent(): void;
  lost(error: LacreError): void;
}

/** Messages on their way to the server, in order. A sender that waits for its promise never queues more than one. */
export class SessionOutbox<T> implements AsyncIterable<T> {
  readonly #queue: Queued<T>[] = [];
  readonly #limit: number;
  #wake: (() => void) | undefined;
  #ended: LacreError | undefined;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Resolves when the message was taken to be sent. Codes: agent.session.lost. */
  push(message: T): Promise<void> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    if (this.#queue.length >= this.#limit) {
      return Promise.reject(new LacreError('agent.session.lost', 'the server does not read what the agent sends'));
    }
    return new Promise((sent, lost) => {
      this.#queue.push({ message, sent, lost });
      this.#wake?.();
    });
  }

  end(error: LacreError): void {
    this.#ended ??= error;
    for (const queued of this.#queue.splice(0)) queued.lost(this.#ended);
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<T> {
    while (this.#ended === undefined) {
      const queued = this.#queue.shift();
      if (queued === undefined) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        continue;
      }
      queued.sent();
      yield queued.message;
    }
  }
}
