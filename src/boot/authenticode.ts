import { createHash } from 'node:crypto';
import { ByteReader } from '../bytes/byte-reader.ts';
import { LacreError } from '../lacre-error.ts';
import type { PcrBank } from '../tpm/constants.ts';

/** Bound of an image: unified kernel images with an initrd inside stay below it. */
const MAX_IMAGE_BYTES = 512 << 20;
const MAX_SECTIONS = 96;
const CERTIFICATE_TABLE = 4;

interface ImageLayout {
  readonly checksumOffset: number;
  /** Offset of the certificate table's directory entry; undefined where the image has none. */
  readonly directoryOffset: number | undefined;
  readonly certificateBytes: number;
  readonly headerBytes: number;
  readonly sections: readonly { readonly start: number; readonly end: number }[];
}

/**
 * Image hash of a PE/COFF file as firmware measures it into PCR 4: the file without its checksum, the directory entry of
 * its signatures, and the signatures; in the bank's length. Computed, not verified: says nothing about who signed.
 *
 * Windows Authenticode Portable Executable Signature Format, "Calculating the PE Image Hash"; PC Client Platform
 * Firmware Profile 1.06, 10.2.3. Throws boot.image.malformed, bytes.truncated.
 */
export function authenticodeDigest(pe: Uint8Array, bank: PcrBank): Uint8Array {
  if (pe.length > MAX_IMAGE_BYTES) throw malformed(`an image of ${pe.length} bytes is over ${MAX_IMAGE_BYTES}`, 0);
  const layout = readLayout(pe);
  const digest = createHash(bank);
  digest.update(pe.subarray(0, layout.checksumOffset));
  const afterChecksum = layout.checksumOffset + 4;
  if (layout.directoryOffset === undefined) digest.update(pe.subarray(afterChecksum, layout.headerBytes));
  else {
    digest.update(pe.subarray(afterChecksum, layout.directoryOffset));
    digest.update(pe.subarray(layout.directoryOffset + 8, layout.headerBytes));
  }
  let hashed = layout.headerBytes;
  for (const { start, end } of layout.sections) {
    digest.update(pe.subarray(start, end));
    hashed += end - start;
  }
  const end = pe.length - layout.certificateBytes;
  if (hashed > end) throw malformed('headers and sections reach into the signatures', hashed);
  digest.update(pe.subarray(hashed, end));
  return new Uint8Array(digest.digest());
}

/** As authenticodeDigest, by SHA-256: 32 bytes. */
export function authenticodeSha256(pe: Uint8Array): Uint8Array {
  return authenticodeDigest(pe, 'sha256');
}

function readLayout(pe: Uint8Array): ImageLayout {
  const coffOffset = readCoffOffset(pe);
  const coff = reader(pe, coffOffset);
  coff.bytes(2); // machine
  const sectionCount = coff.u16();
  coff.bytes(12);
  const optionalBytes = coff.u16();
  coff.bytes(2);
  const optionalOffset = coffOffset + coff.offset;
  const optional = reader(pe, optionalOffset);
  const directories = directoriesOffset(optional.u16());
  optional.bytes(58);
  const headerBytes = optional.u32();
  optional.bytes(directories - 4 - optional.offset);
  const directoryCount = optional.u32();
  const table = optionalOffset + optionalBytes;
  if (headerBytes > pe.length || table + sectionCount * 40 > headerBytes || sectionCount > MAX_SECTIONS) {
    throw malformed('the headers do not fit where the image says that they are', table);
  }
  const inDirectory = directoryCount > CERTIFICATE_TABLE && optionalBytes >= directories + (CERTIFICATE_TABLE + 1) * 8;
  const directoryOffset = inDirectory ? optionalOffset + directories + CERTIFICATE_TABLE * 8 : undefined;
  return {
    checksumOffset: optionalOffset + 64,
    directoryOffset,
    certificateBytes: directoryOffset === undefined ? 0 : readCertificateBytes(pe, directoryOffset),
    headerBytes,
    sections: readSections(pe, table, sectionCount, headerBytes),
  };
}

function readCoffOffset(pe: Uint8Array): number {
  const dos = reader(pe, 0);
  if (dos.u16() !== 0x5a4d) throw malformed('not a PE image: it does not begin with MZ', 0);
  dos.bytes(58);
  const offset = dos.u32();
  if (offset > pe.length || reader(pe, offset).u32() !== 0x4550)
    throw malformed('not a PE image: no PE header', offset);
  return offset + 4;
}

/** Offset of the data directories in the optional header, by its magic. */
function directoriesOffset(magic: number): number {
  if (magic === 0x10b) return 96;
  if (magic === 0x20b) return 112;
  throw malformed(`an optional header of kind 0x${magic.toString(16)} is not known`, 0);
}

/** The signatures must be the last bytes of the file: else bytes behind them would be hashed by nobody. */
function readCertificateBytes(pe: Uint8Array, directoryOffset: number): number {
  const entry = reader(pe, directoryOffset);
  const offset = entry.u32();
  const size = entry.u32();
  if (size === 0) return 0;
  if (offset + size !== pe.length) throw malformed('the signatures are not the end of the image', offset);
  return size;
}

function readSections(
  pe: Uint8Array,
  table: number,
  count: number,
  headerBytes: number,
): { start: number; end: number }[] {
  const headers = reader(pe, table);
  const sections: { start: number; end: number }[] = [];
  for (let i = 0; i < count; i++) {
    headers.bytes(16);
    const size = headers.u32();
    const start = headers.u32();
    headers.bytes(16);
    if (size > 0) sections.push({ start, end: start + size });
  }
  sections.sort((a, b) => a.start - b.start);
  let last = headerBytes;
  for (const { start, end } of sections) {
    if (start < last || end > pe.length) throw malformed('sections overlap, or lie outside the image', start);
    last = end;
  }
  return sections;
}

function reader(pe: Uint8Array, offset: number): ByteReader {
  return new ByteReader(pe.subarray(offset), 'PE image', { littleEndian: true });
}

function malformed(sentence: string, offset: number): LacreError {
  return new LacreError('boot.image.malformed', `${sentence} (offset ${offset})`, { offset });
}
