import type { MeasuredFile } from './measured-file.ts';

/**
 * What an entry is, by what its digest covers.
 * - `file`: something that the kernel hashed when it was executed, mapped or read.
 * - `buffer`: text of the kernel's own (critical data, kexec command line); its digest is that of `buffer`, checked.
 * - `boot-aggregate`: entry 0 with its known name.
 * - `boot-aggregate-again`: that name anywhere else: a kexec'd kernel's list, or a file that someone named so.
 */
export type MeasurementKind = 'file' | 'buffer' | 'boot-aggregate' | 'boot-aggregate-again';

/**
 * `usable`: SHA-256, SHA-384 or SHA-512 of the content. `zero`: the kernel could not hash it, or it is a violation:
 * unknown. `refused`: another algorithm, or a digest of a fs-verity tree: never to be compared.
 */
export type DigestState = 'usable' | 'zero' | 'refused';

export type FileDigestAlgorithm = 'sha256' | 'sha384' | 'sha512';

export interface FileDigest {
  readonly fileDigest: Measurement['fileDigest'];
  readonly digestState: DigestState;
}

/**
 * One entry of the kernel's measurement list. A claim of the node until ListReplay.verify has passed its index; from then
 * on PCR, digest, path, owner and mode are the kernel's word. Of a violation only number, PCR and position are.
 */
export interface Measurement {
  /** Position in the list, from 0. */
  readonly index: number;
  readonly pcr: number;
  /** One of the kernel's built-in templates. */
  readonly template: string;
  readonly kind: MeasurementKind;
  /** As `measuredName` writes names: attacker's text, but printable, and two different names never look the same. */
  readonly path: string;
  /** Only where usable. */
  readonly fileDigest: { readonly algorithm: FileDigestAlgorithm; readonly hex: string } | undefined;
  readonly digestState: DigestState;
  /** The kernel saw a file change while it was in use; nothing of the entry but its being there is covered. */
  readonly violation: boolean;
  /** Owner and mode of the file as its file system has them; only evm-sig, and only for files. */
  readonly iuid: number | undefined;
  readonly igid: number | undefined;
  readonly imode: number | undefined;
  /** Byte offset in the list after this entry. */
  readonly endOffset: number;
  /** Content of a `buffer`, a copy. */
  readonly buffer?: Uint8Array | undefined;
}

const BOOT_AGGREGATE = 'boot_aggregate';

/** Owner and mode, where the template says them. */
export type Inode = Pick<Measurement, 'iuid' | 'igid' | 'imode'>;

/** An entry as the list was read: what it says of a file is the file's, and text is made when it is asked for. */
export class ListedMeasurement implements Measurement {
  readonly file: MeasuredFile;
  readonly index: number;
  readonly pcr: number;
  readonly template: string;
  readonly violation: boolean;
  readonly iuid: number | undefined;
  readonly igid: number | undefined;
  readonly imode: number | undefined;
  readonly endOffset: number;

  constructor(
    file: MeasuredFile,
    entry: Pick<Measurement, 'index' | 'pcr' | 'template' | 'violation' | 'endOffset'>,
    inode: Inode,
  ) {
    this.file = file;
    this.index = entry.index;
    this.pcr = entry.pcr;
    this.template = entry.template;
    this.violation = entry.violation;
    this.iuid = inode.iuid;
    this.igid = inode.igid;
    this.imode = inode.imode;
    this.endOffset = entry.endOffset;
  }

  get path(): string {
    return this.file.path;
  }

  /** Empty unless usable. */
  get hex(): string {
    return this.file.hex;
  }

  get algorithm(): string {
    return this.file.algorithm;
  }

  get fileDigest(): Measurement['fileDigest'] {
    return this.file.fileDigest;
  }

  get digestState(): DigestState {
    return this.file.digestState;
  }

  get buffer(): Uint8Array | undefined {
    return this.file.buffer;
  }

  get kind(): MeasurementKind {
    if (this.file.buffer !== undefined) return 'buffer';
    if (this.path !== BOOT_AGGREGATE) return 'file';
    return this.index === 0 ? 'boot-aggregate' : 'boot-aggregate-again';
  }
}
