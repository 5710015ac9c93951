import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { LacreError } from '../lacre-error.ts';
import type { HostReference, ImageReference } from '../proto/lacre/v1/admin_pb.ts';
import { Database } from './store-database.ts';
import { EntryStore } from './store-entries.ts';
import { EvidenceStore } from './store-evidence.ts';
import { NodeStore } from './store-nodes.ts';
import { hostStore, imageStore, type ReferenceStore } from './store-references.ts';

/**
 * Everything that the server must not forget, in one SQLite database. All methods but `grouped` are synchronous: on
 * return the change is on disk, where one throws nothing was written. CA keys are not in here: who can
 * write the database can't sign.
 *
 * Codes of every method: server.store.busy, .full, .corrupt, .failed.
 */
export class Store {
  /** The inventory: nodes by EK. */
  readonly nodes: NodeStore;
  /** SPIRE registration entries. */
  readonly entries: EntryStore;
  /** Reference values of images, by manifest digest. */
  readonly images: ReferenceStore<ImageReference>;
  /** Reference values of hosts, by name. */
  readonly hosts: ReferenceStore<HostReference>;
  /** Epochs, taints, last verdicts, serials, ledger. */
  readonly evidence: EvidenceStore;
  readonly #db: Database;

  private constructor(db: Database) {
    this.#db = db;
    this.nodes = new NodeStore(db);
    this.entries = new EntryStore(db);
    this.images = imageStore(db);
    this.hosts = hostStore(db);
    this.evidence = new EvidenceStore(db);
  }

  /**
   * Opens (makes, migrates) the database `lacre.db` in `dataDir`, which is made with mode 0700; files are 0600.
   * Codes: server.store.newer where a newer Lacre wrote it, and those of every method.
   */
  static open(dataDir: string): Store {
    try {
      mkdirSync(dataDir, { recursive: true, mode: 0o700 });
      chmodSync(dataDir, 0o700);
    } catch (error) {
      throw new LacreError(
        'server.store.failed',
        `data_dir ${dataDir} cannot be made or is not ours`,
        {},
        { cause: error },
      );
    }
    return new Store(new Database(join(dataDir, 'lacre.db')));
  }

  /** A store that ends with the process: for tests. */
  static openInMemory(): Store {
    return new Store(new Database(':memory:'));
  }

  /** Several calls as one transaction: all of it is on disk on return, none of it where `work` throws. */
  transaction<T>(work: () => T): T {
    return this.#db.transaction(work);
  }

  /**
   * As `transaction`, together with those of others and without stopping the event loop while the disk is written: whoever
   * reads sees the result at once, and it is on disk when the promise resolves. Nothing that rests on it may leave the
   * server before. `work` may be run twice, the first time without effect.
   */
  grouped(work: () => void): Promise<void> {
    return this.#db.grouped(work);
  }

  /** Answers whether the database can be read. */
  healthy(): boolean {
    try {
      return this.#db.get('SELECT 1 AS one')?.['one'] === 1;
    } catch {
      return false;
    }
  }

  close(): void {
    this.#db.close();
  }
}
