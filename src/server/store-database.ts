import { chmodSync, existsSync } from 'node:fs';
import { DatabaseSync, type SQLInputValue, type SQLOutputValue, type StatementSync } from 'node:sqlite';
import { storeFault } from './store-fault.ts';
import { GroupCommit } from './store-group-commit.ts';
import { LogFile } from './store-log-file.ts';
import { migrate } from './store-migrate.ts';

/** One row as SQLite gives it: column name → value. */
export type Row = Record<string, SQLOutputValue>;

/** Pages of the log at which SQLite checkpoints by itself, should nobody else have done so: 128 MiB. */
const LAST_RESORT_PAGES = 32_768;

/**
 * SQLite with the settings that the store's promises rest on: WAL, brought to the disk after each commit before anybody is
 * told of it (a commit survives a power cut; what synchronous=FULL does, but in our hands, so that many commits share one
 * wait), foreign keys, a bounded wait for a lock. Every fault leaves as a LacreError server.store.*.
 */
export class Database {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  /** Undefined in memory. */
  readonly #log: LogFile | undefined;
  readonly #group = new GroupCommit(
    (work) => this.#commit(work, false),
    () => this.#log?.sync() ?? Promise.resolve(),
  );

  /** @param path of the database file (made with mode 0600), or ":memory:". */
  constructor(path: string) {
    try {
      this.#db = new DatabaseSync(path, { timeout: 5000, enableForeignKeyConstraints: true });
    } catch (error) {
      throw storeFault(error);
    }
    try {
      if (path !== ':memory:' && existsSync(path)) chmodSync(path, 0o600);
      this.#db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF');
      migrate(this.#db);
      if (path !== ':memory:') {
        // The log has to be there before we can hold it: this makes it.
        this.#db.exec('BEGIN IMMEDIATE; PRAGMA user_version; COMMIT');
        this.#db.exec(`PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = ${LAST_RESORT_PAGES}`);
        this.#log = new LogFile(path);
      }
    } catch (error) {
      this.#db.close();
      throw storeFault(error);
    }
  }

  run(sql: string, ...values: SQLInputValue[]): { changes: number; lastId: number } {
    return this.#guard(() => {
      const result = this.#prepare(sql).run(...values);
      if (!this.#db.isTransaction) this.#log?.syncNow();
      return { changes: Number(result.changes), lastId: Number(result.lastInsertRowid) };
    });
  }

  get(sql: string, ...values: SQLInputValue[]): Row | undefined {
    return this.#guard(() => this.#prepare(sql).get(...values));
  }

  all(sql: string, ...values: SQLInputValue[]): Row[] {
    return this.#guard(() => this.#prepare(sql).all(...values));
  }

  /** Runs `work` as one transaction: all of it is on disk when this returns, none of it where it throws. Nests by joining. */
  transaction<T>(work: () => T): T {
    if (this.#db.isTransaction) return work();
    return this.#guard(() => this.#commit(work, true));
  }

  /**
   * As `transaction`, together with those of others: run when others have joined it, and before anything else is read or
   * written; on disk when the promise resolves. It rejects where the transaction or the disk fails. `work` may be run twice.
   */
  async grouped(work: () => void): Promise<void> {
    try {
      await this.#group.add(work);
    } catch (error) {
      throw storeFault(error);
    }
  }

  close(): void {
    if (this.#db.isOpen) this.#group.flush();
    this.#log?.close();
    this.#statements.clear();
    if (this.#db.isOpen) this.#db.close();
  }

  #commit<T>(work: () => T, sync: boolean): T {
    this.#db.exec('BEGIN IMMEDIATE');
    try {
      const result = work();
      this.#db.exec('COMMIT');
      if (sync) this.#log?.syncNow();
      return result;
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      throw error;
    }
  }

  #prepare(sql: string): StatementSync {
    const known = this.#statements.get(sql);
    if (known !== undefined) return known;
    const statement = this.#db.prepare(sql);
    if (this.#statements.size < 200) this.#statements.set(sql, statement);
    return statement;
  }

  #guard<T>(work: () => T): T {
    try {
      if (!this.#db.isTransaction) this.#group.flush();
      return work();
    } catch (error) {
      throw storeFault(error);
    }
  }
}

export const text = (value: SQLOutputValue | undefined): string => (typeof value === 'string' ? value : '');
export const number = (value: SQLOutputValue | undefined): number => (value === null ? 0 : Number(value ?? 0));
export const date = (value: SQLOutputValue | undefined): Date | undefined =>
  value === null || value === undefined ? undefined : new Date(Number(value));
export const bytes = (value: SQLOutputValue | undefined): Uint8Array | undefined =>
  value instanceof Uint8Array ? value : undefined;
