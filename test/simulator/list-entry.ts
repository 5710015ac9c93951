import { createHash } from 'node:crypto';
import { ByteWriter } from '../../src/bytes/byte-writer.ts';

/** One entry, as the kernel keeps it. */
export interface ListEntry {
  readonly pcr: number;
  /** The entry in binary_runtime_measurements. */
  readonly bytes: Uint8Array;
  /** What the kernel extends into the SHA-256 bank: 32 bytes. */
  readonly extend: Uint8Array;
  /** The same of the SHA-384 bank: 48 bytes. */
  readonly extendSha384: Uint8Array;
  /** PCR and template digest: the kernel adds no entry twice. */
  readonly identity: string;
}

/** A file as IMA sees it. */
export interface MeasuredFile {
  /** In its own mount namespace. */
  readonly path: string;
  /** 32 bytes. */
  readonly sha256: Uint8Array;
}

/** The file's owner and mode, as evm-sig logs them. */
export interface FileOwner {
  readonly uid: number;
  readonly gid?: number;
  readonly mode?: number;
}

const ONES = new Uint8Array(32).fill(0xff);
const ONES_384 = new Uint8Array(48).fill(0xff);

/** Entry of the default template, ima-sig, of an unsigned file. */
export function imaSigEntry(pcr: number, file: MeasuredFile): ListEntry {
  return entry(pcr, 'ima-sig', fields(digestField(file.sha256), nameField(file.path), new Uint8Array()), false);
}

/** Entry of template evm-sig, of a file without EVM signature and attributes. */
export function evmSigEntry(pcr: number, file: MeasuredFile, owner: FileOwner): ListEntry {
  const none = new Uint8Array();
  const uid = littleEndian(4, owner.uid);
  const gid = littleEndian(4, owner.gid ?? owner.uid);
  const mode = littleEndian(2, owner.mode ?? 0o100755);
  const data = fields(digestField(file.sha256), nameField(file.path), none, none, none, none, uid, gid, mode);
  return entry(pcr, 'evm-sig', data, false);
}

/** A buffer that the kernel measured (ima-buf): a command line of kexec, a key, data of its own. */
export function bufferEntry(name: string, buffer: Uint8Array): ListEntry {
  const digest = new Uint8Array(createHash('sha256').update(buffer).digest());
  return entry(10, 'ima-buf', fields(digestField(digest), nameField(name), buffer), false);
}

/** A violation: default template, zero file digest, zero template digest; all ones are extended. */
export function violationEntry(path: string): ListEntry {
  return entry(10, 'ima-sig', fields(digestField(new Uint8Array(32)), nameField(path), new Uint8Array()), true);
}

function entry(pcr: number, template: string, data: Uint8Array, violation: boolean): ListEntry {
  const sha1 = createHash('sha1').update(data).digest();
  const name = new Uint8Array(Buffer.from(template, 'latin1'));
  const bytes = new ByteWriter({ littleEndian: true })
    .u32(pcr)
    .bytes(violation ? new Uint8Array(20) : sha1)
    .u32(name.length)
    .bytes(name)
    .u32(data.length)
    .bytes(data)
    .finish();
  const extend = violation ? ONES : new Uint8Array(createHash('sha256').update(data).digest());
  const extendSha384 = violation ? ONES_384 : new Uint8Array(createHash('sha384').update(data).digest());
  return { pcr, bytes, extend, extendSha384, identity: `${pcr}:${sha1.toString('hex')}` };
}

/** Template fields, each behind its length (32-bit, little-endian). */
function fields(...values: Uint8Array[]): Uint8Array {
  const writer = new ByteWriter({ littleEndian: true });
  for (const value of values) writer.u32(value.length).bytes(value);
  return writer.finish();
}

function digestField(sha256: Uint8Array): Uint8Array {
  return new Uint8Array(Buffer.concat([Buffer.from('sha256:\0', 'latin1'), sha256]));
}

function nameField(path: string): Uint8Array {
  return new Uint8Array(Buffer.from(`${path}\0`, 'utf8'));
}

function littleEndian(length: 2 | 4, value: number): Uint8Array {
  const writer = new ByteWriter({ littleEndian: true });
  return (length === 2 ? writer.u16(value) : writer.u32(value)).finish();
}
