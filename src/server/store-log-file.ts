import { closeSync, fdatasync, fdatasyncSync, fstat, openSync } from 'node:fs';
import { promisify } from 'node:util';
import { Worker } from 'node:worker_threads';
import { GroupSync } from './store-group-sync.ts';

const sync = promisify(fdatasync);
const stat = promisify(fstat);
/** Size of the log from which its content is written into the database: 4 MiB, SQLite's own measure. */
const CHECKPOINT_BYTES = 4 * 1024 * 1024;

/** The log does not shrink when its content is written: it is begun anew. */
const CHECKPOINT_PAUSE_MS = 1000;

/** Writes the log into the database beside the event loop, which a checkpoint would stop for as long as a disk takes. */
const CHECKPOINTER = `
const { parentPort, workerData } = require('node:worker_threads');
const { DatabaseSync } = require('node:sqlite');
const db = new DatabaseSync(workerData, { timeout: 5000 });
parentPort.on('message', () => {
  try {
    db.exec('PRAGMA wal_checkpoint(PASSIVE)');
  } catch {}
  parentPort.postMessage(0);
});`;

/**
 * The write-ahead log of a database file. SQLite appends to it at each commit and, at synchronous=NORMAL, leaves it to us
 * to bring it to the disk: at once, or for many commits together without stopping the event loop.
 */
export class LogFile {
  readonly #path: string;
  readonly #group = new GroupSync(() => this.#syncNow());
  #fd: number | undefined;
  #worker: Worker | undefined;
  #checkpointing = false;
  #closed = false;
  #syncing = false;
  #notBefore = 0;

  /** @param path of the database */
  constructor(path: string) {
    this.#path = path;
  }

  /** On return all that was committed is on disk. */
  syncNow(): void {
    fdatasyncSync(this.#open());
  }

  /** Resolves when all that was committed up to now is on disk. */
  sync(): Promise<void> {
    return this.#group.wait();
  }

  close(): void {
    this.#closed = true;
    void this.#worker?.terminate();
    if (!this.#syncing) this.#closeFile();
  }

  /** Once no write is under way. */
  #closeFile(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  async #syncNow(): Promise<void> {
    if (this.#closed) throw new Error('the database is closed');
    const fd = this.#open();
    this.#syncing = true;
    try {
      await sync(fd);
    } finally {
      this.#syncing = false;
      if (this.#closed) this.#closeFile();
    }
    if (this.#closed || this.#checkpointing || performance.now() < this.#notBefore) return;
    this.#notBefore = performance.now() + CHECKPOINT_PAUSE_MS;
    const size = await stat(fd).then(
      (facts) => facts.size,
      () => 0,
    );
    if (size > CHECKPOINT_BYTES && !this.#closed) this.#checkpoint();
  }

  #open(): number {
    this.#fd ??= openSync(`${this.#path}-wal`, 'r+');
    return this.#fd;
  }

  #checkpoint(): void {
    this.#checkpointing = true;
    if (this.#worker === undefined) {
      this.#worker = new Worker(CHECKPOINTER, { eval: true, workerData: this.#path, execArgv: [] });
      this.#worker.unref();
      this.#worker.on('message', () => {
        this.#checkpointing = false;
      });
      // SQLite's own checkpoint then does it (wal_autocheckpoint), at the cost of a pause.
      this.#worker.on('error', () => undefined);
    }
    this.#worker.postMessage(0);
  }
}
