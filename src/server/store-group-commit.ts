import { setImmediate as nextTurn } from 'node:timers/promises';

/** Works of one transaction: some 10 ms. */
const WORKS_PER_TURN = 64;

interface Waiting {
  readonly work: () => void;
  resolve(): void;
  reject(error: unknown): void;
}

/**
 * Works of many sessions as one transaction and one write of the disk: those that come in one turn of the event loop or
 * while the disk is written. A work that fails fails alone.
 */
export class GroupCommit {
  readonly #waiting: Waiting[] = [];
  readonly #transaction: (work: () => void) => void;
  readonly #sync: () => Promise<void>;
  #planned = false;
  #writing: Promise<void> | undefined;

  /**
   * @param transaction runs work as one transaction: all of it, or none and it throws.
   * @param sync resolves when what was committed before is on disk.
   */
  constructor(transaction: (work: () => void) => void, sync: () => Promise<void>) {
    this.#transaction = transaction;
    this.#sync = sync;
  }

  /** Resolves when the work is on disk. It may be run twice, the first time without effect. */
  add(work: () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ work, resolve, reject });
      this.#plan();
    });
  }

  /** Commits all that wait: before anybody reads or writes something else. */
  flush(): void {
    while (this.#waiting.length > 0) this.#commit();
  }

  #plan(): void {
    if (this.#planned) return;
    this.#planned = true;
    void (this.#writing ?? nextTurn()).then(() => {
      this.#planned = false;
      if (this.#waiting.length > 0) this.#commit();
      if (this.#waiting.length > 0) this.#plan();
    });
  }

  #commit(): void {
    const group = this.#waiting.splice(0, WORKS_PER_TURN);
    const together = group.length > 1 && this.#succeeds(() => group.forEach(({ work }) => void work()));
    const committed = together ? group : group.filter(({ work, reject }) => this.#succeeds(work, reject));
    if (committed.length === 0) return;
    const writing = this.#sync()
      .then(
        () => committed.forEach(({ resolve }) => void resolve()),
        (error) => committed.forEach(({ reject }) => void reject(error)),
      )
      .finally(() => {
        if (this.#writing === writing) this.#writing = undefined;
      });
    this.#writing = writing;
  }

  #succeeds(work: () => void, failed?: (error: unknown) => void): boolean {
    try {
      this.#transaction(work);
      return true;
    } catch (error) {
      failed?.(error);
      return false;
    }
  }
}
