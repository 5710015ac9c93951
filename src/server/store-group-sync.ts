/**
 * Group commit: whoever waits while the disk is written gets the next write together with all others who wait. A write
 * that began before somebody asked does not count for them.
 */
export class GroupSync {
  readonly #write: () => Promise<void>;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  /** @param write resolves when all that was written before it began is on disk */
  constructor(write: () => Promise<void>) {
    this.#write = write;
  }

  /** Resolves when what was written up to now is on disk; rejects as `write` does. */
  wait(): Promise<void> {
    if (this.#running === undefined) return this.#start();
    this.#next ??= this.#running.then(
      () => this.#startNext(),
      () => this.#startNext(),
    );
    return this.#next;
  }

  #startNext(): Promise<void> {
    this.#next = undefined;
    return this.#start();
  }

  #start(): Promise<void> {
    const running = this.#write().finally(() => {
      if (this.#running === running) this.#running = undefined;
    });
    this.#running = running;
    return running;
  }
}
