import { toHex } from '../bytes/hex.ts';
import type { DigestState, FileDigest, FileDigestAlgorithm } from './measurement.ts';
import { plainNameHash } from './plain-name.ts';

/** In the key of a file with a SHA-256 digest: the digest, four bytes of length, the name. */
export const KEY_DIGEST_BYTES = 32;
export const KEY_NAME_AT: number = KEY_DIGEST_BYTES + 4;

/**
 * What an entry says of a file: its name, and the digest of its content. Never changes, and holds nothing of a node, so one
 * object may serve the lists of many. Text is made when it is asked for.
 */
export class MeasuredFile {
  readonly digestState: DigestState;
  /** Empty unless usable. */
  readonly algorithm: FileDigestAlgorithm | '';
  /** Where a search for the file begins (placeOf); -1: its name is not plain, and it is searched for by its text. */
  readonly place: number;
  /** Content of a `buffer`, a copy. */
  readonly buffer: Uint8Array | undefined;
  /** The files that hold this one, path and digest; undefined says nothing. */
  readonly home: FileHome | undefined;
  readonly #row: number | undefined;
  readonly #key: string | undefined;
  /** Of a row, which serves many lists, text is kept once it was asked for. */
  #path: string | undefined;
  #hex: string | undefined;

  private constructor(
    found: { readonly digestState: DigestState; readonly algorithm: FileDigestAlgorithm | ''; readonly place: number },
    text: { readonly key?: string; readonly path?: string },
    more: { readonly buffer?: Uint8Array | undefined; readonly home?: FileHome; readonly row?: number },
  ) {
    this.digestState = found.digestState;
    this.algorithm = found.algorithm;
    this.place = found.place;
    this.buffer = more.buffer;
    this.home = more.home;
    this.#row = more.row;
    this.#key = text.key;
    this.#path = text.path;
  }

  /** A file with a SHA-256 digest and a plain name. `key`: digest, length of the name with a final zero, name; latin1. */
  static plain(key: string, place: number): MeasuredFile {
    return new MeasuredFile({ digestState: 'usable', algorithm: 'sha256', place }, { key }, {});
  }

  /** A plain file that is a row of others, which do not change. */
  static ofRow(home: FileHome, row: number, place: number): MeasuredFile {
    return new MeasuredFile({ digestState: 'usable', algorithm: 'sha256', place }, {}, { home, row });
  }

  /** Any file. `path` is as decodeName gives it. */
  static of(path: string, { fileDigest, digestState }: FileDigest, buffer?: Uint8Array): MeasuredFile {
    const key = fileDigest === undefined ? path : keyOf(fileDigest.hex, path);
    const algorithm = fileDigest?.algorithm ?? '';
    const place = algorithm === 'sha256' && buffer === undefined ? placeOfKey(key) : -1;
    return new MeasuredFile({ digestState, algorithm, place }, { key, path }, { buffer });
  }

  static ofSha256(path: string, hex: string): MeasuredFile {
    return MeasuredFile.of(path, { fileDigest: { algorithm: 'sha256', hex }, digestState: 'usable' });
  }

  /** Among files of one `digestState` the same for the same name and digest, and for no others. */
  get key(): string {
    return this.#key ?? (this.home as FileHome).rowKey(this.#row as number);
  }

  get path(): string {
    if (this.#path !== undefined) return this.#path;
    const path = this.key.slice(KEY_NAME_AT);
    if (this.home !== undefined) this.#path = path;
    return path;
  }

  /** Empty unless usable. */
  get hex(): string {
    if (this.algorithm === '') return '';
    if (this.#hex !== undefined) return this.#hex;
    const bytes = this.algorithm === 'sha512' ? 64 : this.algorithm === 'sha384' ? 48 : KEY_DIGEST_BYTES;
    const hex = toHex(Buffer.from(this.key.slice(0, bytes), 'latin1'));
    if (this.home !== undefined) this.#hex = hex;
    return hex;
  }

  get fileDigest(): FileDigest['fileDigest'] {
    return this.algorithm === '' ? undefined : { algorithm: this.algorithm, hex: this.hex };
  }
}

/** Files that never change, each with a number. */
export interface FileHome {
  /** MeasuredFile.key of a row. */
  rowKey(row: number): string;
}

/** Where files are looked up as they stand in a list, so that what is known needs no object of its own. */
export interface KnownFiles {
  /**
   * The file whose SHA-256 digest begins at `digestStart` and whose plain name lies from `nameStart` to `nameEnd`;
   * undefined: it is not known, or was not found.
   */
  find(
    bytes: Uint8Array,
    digestStart: number,
    nameStart: number,
    nameEnd: number,
    place: number,
  ): MeasuredFile | undefined;
}

/** Key of a usable digest at a path: see MeasuredFile.key. */
export function keyOf(hex: string, path: string): string {
  const digest = Buffer.from(hex, 'hex').toString('latin1');
  return `${digest}${lengthText(Buffer.byteLength(path))}${path}`;
}

/** As fields of an entry say it: of a name with its final zero, four bytes, little endian, latin1. */
export function lengthText(nameBytes: number): string {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(nameBytes + 1);
  return length.toString('latin1');
}

function placeOfKey(key: string): number {
  const name = Buffer.from(key.slice(KEY_NAME_AT));
  return placeOf(name, 0, name.length, Buffer.from(key, 'latin1'), 0);
}

/**
 * Where a search begins for a file whose name lies in `names` and whose SHA-256 digest begins at `digestAt` of `digests`:
 * a number from 0 to 2^31 - 1, or -1 where the name is not plain.
 */
export function placeOf(
  names: Uint8Array,
  nameStart: number,
  nameEnd: number,
  digests: Uint8Array,
  digestAt: number,
): number {
  const name = plainNameHash(names, nameStart, nameEnd);
  if (name < 0) return name;
  const word =
    (digests[digestAt] as number) |
    ((digests[digestAt + 1] as number) << 8) |
    ((digests[digestAt + 2] as number) << 16);
  return Math.imul(name ^ word, 0x9e3779b1) >>> 1;
}
