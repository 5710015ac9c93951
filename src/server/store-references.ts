import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  type HostReference,
  HostReferenceSchema,
  type ImageReference,
  ImageReferenceSchema,
  type ReferenceFile,
  ReferenceFilesSchema,
} from '../proto/lacre/v1/admin_pb.ts';
import { bytes, type Database, number } from './store-database.ts';

/** Approved reference values without their files. */
export interface Approved<T> {
  readonly reference: T;
  readonly approvedAt: Date;
}

interface Shelf<T> {
  readonly table: 'images' | 'hosts';
  readonly files: 'image_files' | 'host_files';
  readonly key: 'manifest_digest' | 'name';
  readonly keyOf: (reference: T) => string;
  readonly encode: (reference: T) => Uint8Array;
  readonly decode: (encoded: Uint8Array) => T;
}

/** Reference values of one kind. Files (up to 100,000) lie apart, so that listing does not read them. */
export class ReferenceStore<T> {
  readonly #db: Database;
  readonly #shelf: Shelf<T>;

  constructor(db: Database, shelf: Shelf<T>) {
    this.#db = db;
    this.#shelf = shelf;
  }

  /** Adds, or replaces what had the same key, with all of its files. */
  put(reference: T, files: ReferenceFile[], now: Date): void {
    const { table, files: fileTable, key, keyOf, encode } = this.#shelf;
    const id = keyOf(reference);
    const encoded = toBinary(ReferenceFilesSchema, create(ReferenceFilesSchema, { files }));
    this.#db.transaction(() => {
      const refresh = `ON CONFLICT (${key}) DO UPDATE SET reference_pb = excluded.reference_pb, approved_at = excluded.approved_at`;
      this.#db.run(`INSERT INTO ${table} VALUES (?, ?, ?) ${refresh}`, id, encode(reference), now.getTime());
      this.#db.run(`INSERT OR REPLACE INTO ${fileTable} VALUES (?, ?)`, id, encoded);
    });
  }

  get(id: string): Approved<T> | undefined {
    const found = this.#db.get(`SELECT * FROM ${this.#shelf.table} WHERE ${this.#shelf.key} = ?`, id);
    if (found === undefined) return undefined;
    return {
      reference: this.#shelf.decode(bytes(found['reference_pb']) ?? new Uint8Array()),
      approvedAt: new Date(number(found['approved_at'])),
    };
  }

  /** The files of one, in the order they were put; empty where there is none. */
  files(id: string): ReferenceFile[] {
    const found = this.#db.get(`SELECT files_pb FROM ${this.#shelf.files} WHERE ${this.#shelf.key} = ?`, id);
    return fromBinary(ReferenceFilesSchema, bytes(found?.['files_pb']) ?? new Uint8Array()).files;
  }

  /** What `get` takes, of all, in order. */
  keys(): string[] {
    const { table, key } = this.#shelf;
    return this.#db.all(`SELECT ${key} AS id FROM ${table} ORDER BY ${key}`).map(({ id }) => String(id));
  }

  list(): Approved<T>[] {
    const rows = this.#db.all(`SELECT reference_pb, approved_at FROM ${this.#shelf.table} ORDER BY ${this.#shelf.key}`);
    return rows.map((row) => ({
      reference: this.#shelf.decode(bytes(row['reference_pb']) ?? new Uint8Array()),
      approvedAt: new Date(number(row['approved_at'])),
    }));
  }

  /** False where there was none. */
  remove(id: string): boolean {
    return this.#db.run(`DELETE FROM ${this.#shelf.table} WHERE ${this.#shelf.key} = ?`, id).changes > 0;
  }
}

/** By manifest digest, "sha256:…". */
export function imageStore(db: Database): ReferenceStore<ImageReference> {
  return new ReferenceStore<ImageReference>(db, {
    table: 'images',
    files: 'image_files',
    key: 'manifest_digest',
    keyOf: (reference) => reference.manifestDigest,
    encode: (reference) => toBinary(ImageReferenceSchema, reference),
    decode: (encoded) => fromBinary(ImageReferenceSchema, encoded),
  });
}

/** By name. */
export function hostStore(db: Database): ReferenceStore<HostReference> {
  return new ReferenceStore<HostReference>(db, {
    table: 'hosts',
    files: 'host_files',
    key: 'name',
    keyOf: (reference) => reference.name,
    encode: (reference) => toBinary(HostReferenceSchema, reference),
    decode: (encoded) => fromBinary(HostReferenceSchema, encoded),
  });
}
