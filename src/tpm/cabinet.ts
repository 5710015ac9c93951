import { inflateRawSync } from 'node:zlib';
import { ByteReader } from '../bytes/byte-reader.ts';
import { isLacreError, LacreError } from '../lacre-error.ts';

/** A file of a cabinet: a claim of whoever made it; the signature over the cabinet is not looked at. */
export interface CabinetFile {
  /** As it is written: folders divided by backslashes. */
  readonly name: string;
  readonly content: Uint8Array;
}

export const CABINET_LIMITS = { bytes: 64 << 20, contentBytes: 128 << 20, folders: 256, files: 20_000 } as const;

const SIGNATURE = 0x4643534d;
/** Others come before it, or after it: bits 0 and 1. Fields are reserved: bit 2. */
const FLAG = { oneOfSeveral: 3, reserved: 4 } as const;
const BLOCK_BYTES = 32_768;
const COMPRESSION = { none: 0, mszip: 1 } as const;
const COMPRESSION_MASK = 0x000f;
const MSZIP_MARK = 'CK';
const MAX_NAME_BYTES = 256;

interface Folder {
  readonly dataOffset: number;
  readonly blocks: number;
  readonly compression: number;
}

interface Header {
  readonly filesOffset: number;
  readonly fileCount: number;
  readonly folderCount: number;
  readonly folderReserve: number;
  readonly dataReserve: number;
}

/**
 * Reads a cabinet file (Microsoft Cabinet Format, MS-CAB): one cabinet, uncompressed or MSZIP. How Microsoft publishes the
 * certificates of TPM makers (TrustedTpm.cab). Bounded: 64 MiB, 128 MiB unpacked.
 *
 * Throws tpm.cabinet.malformed, for LZX and Quantum too.
 */
export function readCabinet(bytes: Uint8Array): CabinetFile[] {
  if (bytes.length > CABINET_LIMITS.bytes) throw malformed(`${bytes.length} bytes are over ${CABINET_LIMITS.bytes}`);
  try {
    return readFiles(bytes);
  } catch (error) {
    if (!isLacreError(error, 'bytes.truncated')) throw error;
    throw malformed(error.message, error);
  }
}

function readFiles(bytes: Uint8Array): CabinetFile[] {
  const reader = readerAt(bytes, 0);
  const header = readHeader(reader);
  const budget = { left: CABINET_LIMITS.contentBytes };
  const contents = readFolders(reader, header).map((folder) => unpack(bytes, folder, header.dataReserve, budget));
  const entries = readerAt(bytes, header.filesOffset);
  return Array.from({ length: header.fileCount }, (_, index) => {
    const size = entries.u32();
    const start = entries.u32();
    const folder = contents[entries.u16()];
    entries.bytes(4); // date and time
    const isUtf8 = (entries.u16() & 0x80) !== 0;
    const name = readName(entries, isUtf8);
    if (folder === undefined || start + size > folder.length)
      throw malformed(`file ${index} lies outside of its folder`);
    return { name, content: folder.subarray(start, start + size) };
  });
}

/** CFHEADER. */
function readHeader(reader: ByteReader): Header {
  if (reader.u32() !== SIGNATURE) throw malformed('it does not begin with MSCF');
  reader.bytes(12);
  const filesOffset = reader.u32();
  reader.bytes(6); // reserved, version
  const folderCount = reader.u16();
  const fileCount = reader.u16();
  const flags = reader.u16();
  reader.bytes(4); // set, number in it
  if ((flags & FLAG.oneOfSeveral) !== 0) throw malformed('it is one of several, which are not put together');
  if (folderCount > CABINET_LIMITS.folders || fileCount > CABINET_LIMITS.files)
    throw malformed('it has too many files');
  if ((flags & FLAG.reserved) === 0) return { filesOffset, fileCount, folderCount, folderReserve: 0, dataReserve: 0 };
  const headerReserve = reader.u16();
  const folderReserve = reader.u8();
  const dataReserve = reader.u8();
  reader.bytes(headerReserve);
  return { filesOffset, fileCount, folderCount, folderReserve, dataReserve };
}

/** CFFOLDER, each. */
function readFolders(reader: ByteReader, { folderCount, folderReserve }: Header): Folder[] {
  return Array.from({ length: folderCount }, () => {
    const folder = { dataOffset: reader.u32(), blocks: reader.u16(), compression: reader.u16() & COMPRESSION_MASK };
    reader.bytes(folderReserve);
    return folder;
  });
}

/** The content of a folder: CFDATA blocks, each with the one before it as dictionary. */
function unpack(bytes: Uint8Array, folder: Folder, reserve: number, budget: { left: number }): Uint8Array {
  const reader = readerAt(bytes, folder.dataOffset);
  const blocks: Uint8Array[] = [];
  for (let block = 0; block < folder.blocks; block++) {
    reader.bytes(4); // checksum: says nothing against a liar
    const packedBytes = reader.u16();
    const size = reader.u16();
    reader.bytes(reserve);
    const packed = reader.bytes(packedBytes);
    budget.left -= size;
    if (size > BLOCK_BYTES || budget.left < 0) throw malformed('it unpacks to more than is accepted');
    blocks.push(unpackBlock(packed, size, folder.compression, blocks.at(-1)));
  }
  return Buffer.concat(blocks);
}

function unpackBlock(packed: Uint8Array, size: number, compression: number, before?: Uint8Array): Uint8Array {
  const content = compression === COMPRESSION.none ? packed : inflate(packed, compression, before);
  if (content.length !== size) throw malformed('a block has another size than it says');
  return content;
}

function inflate(packed: Uint8Array, compression: number, before: Uint8Array | undefined): Uint8Array {
  if (compression !== COMPRESSION.mszip) {
    throw malformed('it is compressed by LZX or Quantum: unpack it with cabextract, and import the folder');
  }
  if (Buffer.from(packed.subarray(0, 2)).toString('latin1') !== MSZIP_MARK) throw malformed('a block is no MSZIP');
  try {
    return inflateRawSync(packed.subarray(2), { maxOutputLength: BLOCK_BYTES, dictionary: before });
  } catch (cause) {
    throw malformed('a block cannot be unpacked', cause);
  }
}

function readName(reader: ByteReader, isUtf8: boolean): string {
  const bytes: number[] = [];
  for (let byte = reader.u8(); byte !== 0; byte = reader.u8()) {
    if (bytes.length === MAX_NAME_BYTES) throw malformed('a name does not end');
    bytes.push(byte);
  }
  return Buffer.from(bytes).toString(isUtf8 ? 'utf8' : 'latin1');
}

function readerAt(bytes: Uint8Array, offset: number): ByteReader {
  return new ByteReader(bytes.subarray(offset), 'cabinet', { littleEndian: true });
}

function malformed(fault: string, cause?: unknown): LacreError {
  return new LacreError('tpm.cabinet.malformed', `the cabinet file cannot be read: ${fault}`, {}, { cause });
}
