import {
  type FileHome,
  KEY_DIGEST_BYTES,
  KEY_NAME_AT,
  type KnownFiles,
  lengthText,
  MeasuredFile,
  placeOf,
} from '../../ima/measured-file.ts';

/** Slots that are looked at for one file. */
const MAX_LOOKED_AT = 64;

/** Where a table's block holds what: digests of 32 bytes, and paths, whose ends are counted from the first's start. */
export interface FileColumns {
  readonly block: Buffer;
  readonly digests: number;
  readonly paths: number;
  readonly ends: Uint32Array;
}

/**
 * Finds a plain file of a table by path and digest together, as a list holds them, in constant time. A row whose slots are
 * all taken is left out: what is not found here has to be looked for in the table. So who makes many files of one place
 * gains nothing but that.
 */
export class FileIndex implements KnownFiles, FileHome {
  readonly #columns: FileColumns;
  /** Place of a row, and its number from 1 on: half of the slots at most are taken. */
  readonly #slots: Int32Array;
  readonly #last: number;
  /** By row, made when it is first found. */
  readonly #files: (MeasuredFile | undefined)[];

  constructor(columns: FileColumns) {
    const { block, digests, ends } = columns;
    this.#columns = columns;
    this.#files = new Array<MeasuredFile | undefined>(ends.length).fill(undefined);
    this.#last = 2 ** Math.ceil(Math.log2(2 * ends.length + 1)) - 1;
    this.#slots = new Int32Array(2 * (this.#last + 1));
    for (let row = 0; row < ends.length; row++) {
      const place = placeOf(block, this.#start(row), this.#end(row), block, digests + KEY_DIGEST_BYTES * row);
      if (place >= 0) this.#put(row, place);
    }
  }

  find(
    bytes: Uint8Array,
    digestStart: number,
    nameStart: number,
    nameEnd: number,
    place: number,
  ): MeasuredFile | undefined {
    for (let looked = 0; looked < MAX_LOOKED_AT; looked++) {
      const slot = 2 * ((place + looked) & this.#last);
      const row = (this.#slots[slot + 1] as number) - 1;
      if (row < 0) return undefined;
      if (this.#slots[slot] === place && this.#isRow(row, bytes, digestStart, nameStart, nameEnd))
        return this.#fileOf(row, place);
    }
    return undefined;
  }

  /** Whether a plain file is a row; false: it may yet be one (see above). */
  holds(file: MeasuredFile): boolean {
    return this.rowOf(file) !== undefined;
  }

  /** A plain file as the lists that know this table hold it; undefined: it is no row, or may yet be one (see above). */
  rowOf(file: MeasuredFile): MeasuredFile | undefined {
    if (file.home === this) return file;
    const { key, place } = file;
    const bytes = Buffer.from(key, 'latin1');
    return this.find(bytes, 0, KEY_NAME_AT, bytes.length, place);
  }

  rowKey(row: number): string {
    const { block, digests } = this.#columns;
    const [start, end] = [this.#start(row), this.#end(row)];
    const digest = digests + KEY_DIGEST_BYTES * row;
    const text = block.toString('latin1', digest, digest + KEY_DIGEST_BYTES);
    return `${text}${lengthText(end - start)}${block.toString('latin1', start, end)}`;
  }

  #put(row: number, place: number): void {
    for (let looked = 0; looked < MAX_LOOKED_AT; looked++) {
      const slot = 2 * ((place + looked) & this.#last);
      if (this.#slots[slot + 1] !== 0) continue;
      this.#slots[slot] = place;
      this.#slots[slot + 1] = row + 1;
      return;
    }
  }

  #fileOf(row: number, place: number): MeasuredFile {
    const known = this.#files[row] ?? MeasuredFile.ofRow(this, row, place);
    this.#files[row] = known;
    return known;
  }

  #isRow(row: number, bytes: Uint8Array, digestStart: number, nameStart: number, nameEnd: number): boolean {
    const { block, digests } = this.#columns;
    const start = this.#start(row);
    if (this.#end(row) - start !== nameEnd - nameStart) return false;
    const digest = digests + KEY_DIGEST_BYTES * row;
    for (let i = 0; i < KEY_DIGEST_BYTES; i++) if (block[digest + i] !== bytes[digestStart + i]) return false;
    for (let i = nameStart; i < nameEnd; i++) if (block[start + i - nameStart] !== bytes[i]) return false;
    return true;
  }

  #start(row: number): number {
    const { paths, ends } = this.#columns;
    return paths + (row === 0 ? 0 : (ends[row - 1] as number));
  }

  #end(row: number): number {
    return this.#columns.paths + (this.#columns.ends[row] as number);
  }
}
