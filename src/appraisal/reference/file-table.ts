import { toHex } from '../../bytes/hex.ts';
import { LacreError } from '../../lacre-error.ts';
import { FileIndex } from './file-index.ts';
import { checkReferencePath, listSpelling } from './reference-path.ts';

/** One regular file of reference values. */
export interface ReferenceFile {
  /** Absolute, escaped by pathText or measuredName; a table keeps it as the measurement list spells it. */
  readonly path: string;
  /** 32 bytes */
  readonly sha256: Uint8Array;
  /** Permission bits; not part of the match. */
  readonly mode: number;
}

/** Files of one image or host at most. */
export const MAX_REFERENCE_FILES = 500_000;
const MAGIC = 0x4c524631; // "LRF1"
const HEADER_BYTES = 12;
const DIGEST_BYTES = 32;

/**
 * Reference values: which digests the file at a path may have. Immutable, one block of memory (path, 32 bytes and a few
 * more for each file), found by binary search. A path may have several digests, as on a host between two updates.
 *
 * Block, little-endian: magic u32, count u32, bytes of all paths u32; end of each path u32; digests; modes u16; paths
 * in UTF-8, sorted by bytes.
 */
export class FileTable {
  static readonly EMPTY: FileTable = FileTable.of([]);
  readonly #block: Buffer;
  readonly #ends: Uint32Array;
  readonly #digests: number;
  readonly #modes: number;
  readonly #paths: number;
  #index: FileIndex | undefined;
  readonly size: number;

  private constructor(block: Buffer) {
    this.#block = block;
    this.size = block.readUInt32LE(4);
    this.#digests = HEADER_BYTES + 4 * this.size;
    this.#modes = this.#digests + DIGEST_BYTES * this.size;
    this.#paths = this.#modes + 2 * this.size;
    this.#ends = Uint32Array.from({ length: this.size }, (_, i) => block.readUInt32LE(HEADER_BYTES + 4 * i));
  }

  /** Throws appraisal.files.malformed for a path that is not absolute and plain, or a digest that is not 32 bytes; bytes.oversized. */
  static of(files: Iterable<ReferenceFile>, maxFiles = MAX_REFERENCE_FILES): FileTable {
    const rows = [...files].map(checkedRow).sort(byPathThenDigest).filter(differsFromLast);
    if (rows.length > maxFiles) throw tooMany(rows.length);
    const pathBytes = rows.reduce((sum, row) => sum + row.path.length, 0);
    const block = Buffer.alloc(HEADER_BYTES + rows.length * (4 + DIGEST_BYTES + 2) + pathBytes);
    block.writeUInt32LE(MAGIC, 0);
    block.writeUInt32LE(rows.length, 4);
    block.writeUInt32LE(pathBytes, 8);
    let end = 0;
    const pathsAt = block.length - pathBytes;
    for (const [i, row] of rows.entries()) {
      row.path.copy(block, pathsAt + end);
      end += row.path.length;
      block.writeUInt32LE(end, HEADER_BYTES + 4 * i);
      block.set(row.sha256, HEADER_BYTES + 4 * rows.length + DIGEST_BYTES * i);
      block.writeUInt16LE(row.mode & 0o7777, HEADER_BYTES + (4 + DIGEST_BYTES) * rows.length + 2 * i);
    }
    return new FileTable(block);
  }

  /** From `encode`; the bytes must not change afterwards. Throws appraisal.files.malformed, bytes.oversized. */
  static decode(bytes: Uint8Array): FileTable {
    const block = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (block.length < HEADER_BYTES || block.readUInt32LE(0) !== MAGIC) throw malformed('it does not begin as one');
    const count = block.readUInt32LE(4);
    if (count > MAX_REFERENCE_FILES) throw tooMany(count);
    if (block.length !== HEADER_BYTES + count * (4 + DIGEST_BYTES + 2) + block.readUInt32LE(8))
      throw malformed('its length is not what its counts say');
    const table = new FileTable(block);
    table.#checkOrder(block.readUInt32LE(8));
    return table;
  }

  /** The table as bytes, not a copy. */
  encode(): Uint8Array {
    return new Uint8Array(this.#block.buffer, this.#block.byteOffset, this.#block.byteLength);
  }

  /** Hex digests that the file at a path may have; undefined where there is no such path. */
  get(path: string): ReadonlySet<string> | undefined {
    const key = Buffer.from(listSpelling(path));
    let row = this.#lowerBound(key);
    const digests = new Set<string>();
    for (; row < this.size && this.#pathBytes(row).equals(key); row++) digests.add(toHex(this.#digest(row)));
    return digests.size === 0 ? undefined : digests;
  }

  has(path: string, sha256Hex: string): boolean {
    return this.get(path)?.has(sha256Hex) ?? false;
  }

  /** Finds files as a list holds them; made when it is first asked for. */
  get index(): FileIndex {
    this.#index ??= new FileIndex({
      block: this.#block,
      digests: this.#digests,
      paths: this.#paths,
      ends: this.#ends,
    });
    return this.#index;
  }

  /** Whether a mount on this path would hide a file: it is a file's own path, or a folder above one. */
  hasAtOrBelow(path: string): boolean {
    if (path === '/') return this.size > 0;
    if (this.get(path) !== undefined) return true;
    const prefix = Buffer.from(`${listSpelling(path)}/`);
    const row = this.#lowerBound(prefix);
    return row < this.size && this.#pathBytes(row).subarray(0, prefix.length).equals(prefix);
  }

  /** All files in the order of their paths' bytes. */
  *[Symbol.iterator](): Generator<ReferenceFile> {
    for (let row = 0; row < this.size; row++) {
      yield {
        path: this.#pathBytes(row).toString(),
        sha256: this.#digest(row),
        mode: this.#block.readUInt16LE(this.#modes + 2 * row),
      };
    }
  }

  #lowerBound(key: Buffer): number {
    let low = 0;
    let high = this.size;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#pathBytes(middle).compare(key) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #pathBytes(row: number): Buffer {
    return this.#block.subarray(this.#paths + this.#endOf(row - 1), this.#paths + this.#endOf(row));
  }

  /** Where a path ends, counted from the first one's start; of none: 0. */
  #endOf(row: number): number {
    return row < 0 ? 0 : Number(this.#ends[row]);
  }

  #digest(row: number): Uint8Array {
    return this.#block.subarray(this.#digests + DIGEST_BYTES * row, this.#digests + DIGEST_BYTES * (row + 1));
  }

  #checkOrder(pathBytes: number): void {
    for (let row = 0; row < this.size; row++) {
      const path = this.#pathBytes(row); // empty, which no path is, where it would end before it begins
      if (this.#pathBytes(row - 1).compare(path) > 0) throw malformed('its paths are not sorted');
      checkReferencePath(decodeText(path));
    }
    if (this.#endOf(this.size - 1) !== pathBytes) throw malformed('its paths do not fill it');
  }
}

interface Row {
  readonly path: Buffer;
  readonly sha256: Uint8Array;
  readonly mode: number;
}

function checkedRow(file: ReferenceFile): Row {
  checkReferencePath(file.path);
  if (file.sha256.length !== DIGEST_BYTES)
    throw malformed(`the digest of ${JSON.stringify(file.path)} has ${file.sha256.length} bytes`);
  return { path: Buffer.from(listSpelling(file.path)), sha256: file.sha256, mode: file.mode };
}

function byPathThenDigest(a: Row, b: Row): number {
  return a.path.compare(b.path) || Buffer.compare(a.sha256, b.sha256);
}

function differsFromLast(row: Row, index: number, rows: Row[]): boolean {
  const last = rows[index - 1];
  return last === undefined || byPathThenDigest(last, row) !== 0;
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

function decodeText(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch (cause) {
    throw new LacreError(
      'appraisal.files.malformed',
      'a path of a table of reference files is not UTF-8',
      {},
      { cause },
    );
  }
}

function malformed(why: string): LacreError {
  return new LacreError('appraisal.files.malformed', `this is no table of reference files: ${why}`);
}

function tooMany(count: number): LacreError {
  return new LacreError('bytes.oversized', `${count} reference files are more than ${MAX_REFERENCE_FILES}`, { count });
}
