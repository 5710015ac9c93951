import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import { LacreError } from '../../lacre-error.ts';

/** One name of a cpio archive in the newc format. */
export interface CpioEntry {
  /** As it stands there, one character a byte. */
  readonly name: string;
  readonly mode: number;
  /** Equal for names of one file, which are of one archive; undefined: it has one name. */
  readonly link: string | undefined;
  readonly data: Uint8Array;
}

export type CpioLimits = Readonly<Record<'entries' | 'bytes' | 'segments' | 'nameBytes', number>>;
export const CPIO_LIMITS: CpioLimits = { entries: 200_000, bytes: 1 << 30, segments: 64, nameBytes: 4096 };

const HEADER_BYTES = 110;
const TRAILER = 'TRAILER!!!';
const UNSUPPORTED: readonly (readonly [magic: string, name: string])[] = [
  ['fd377a585a00', 'xz'],
  ['425a68', 'bzip2'],
  ['5d0000', 'lzma'],
  ['02214c18', 'lz4'],
  ['04224d18', 'lz4'],
  ['894c5a4f', 'lzo'],
];

/**
 * Every name of an initrd, in the order in which the kernel unpacks them: cpio archives after each other with zeros
 * between, the last of them perhaps compressed by gzip or zstd (Documentation/driver-api/early-userspace/buffer-format).
 *
 * Throws appraisal.initrd.malformed, appraisal.initrd.oversized.
 */
export function* readInitrd(bytes: Uint8Array, limits: CpioLimits = CPIO_LIMITS): Generator<CpioEntry> {
  const pending = [Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)];
  let entries = 0;
  let segments = 0;
  for (let buffer = pending.pop(); buffer !== undefined; buffer = pending.pop()) {
    const start = buffer.findIndex((byte) => byte !== 0);
    if (start < 0) continue;
    if (++segments > limits.segments) throw oversized(`more than ${limits.segments} archives`);
    if (buffer[start] === 0x30 && start % 4 === 0) {
      const archive = readArchive(buffer, start, segments, limits);
      for (let next = archive.next(); ; next = archive.next()) {
        if (next.done) {
          pending.push(buffer.subarray(next.value));
          break;
        }
        if (++entries > limits.entries) throw oversized(`more than ${limits.entries} names`);
        yield next.value;
      }
    } else pending.push(decompress(buffer.subarray(start), limits));
  }
}

/** One archive up to its trailer; returns where it ends. */
function* readArchive(
  buffer: Buffer,
  start: number,
  segment: number,
  limits: CpioLimits,
): Generator<CpioEntry, number> {
  for (let at = start; ; ) {
    const header = buffer.subarray(at, at + HEADER_BYTES);
    const magic = header.subarray(0, 6).toString('latin1');
    if (magic !== '070701' && magic !== '070702') throw malformed('a header is cut or has no newc magic', at);
    const field = (index: number) => hexField(header, index, at);
    const [nameSize, fileSize, mode] = [field(11), field(6), field(1)];
    if (nameSize === 0 || nameSize > limits.nameBytes) throw malformed(`a name has ${nameSize} bytes`, at);
    const nameEnd = at + HEADER_BYTES + nameSize;
    const dataAt = align(nameEnd);
    const end = dataAt + fileSize;
    if (end > buffer.length || buffer[nameEnd - 1] !== 0)
      throw malformed('an entry is cut, or its name has no end', at);
    const name = buffer.subarray(at + HEADER_BYTES, nameEnd - 1).toString('latin1');
    if (name === TRAILER) return align(end);
    const link = field(4) > 1 ? [segment, field(0), field(7), field(8)].join() : undefined;
    yield { name, mode, link, data: buffer.subarray(dataAt, end) };
    at = align(end);
  }
}

function hexField(header: Buffer, index: number, at: number): number {
  const text = header.subarray(6 + 8 * index, 14 + 8 * index).toString('latin1');
  if (!/^[0-9a-fA-F]{8}$/.test(text)) throw malformed('a field of a header is no hexadecimal number', at);
  return Number.parseInt(text, 16);
}

function decompress(buffer: Buffer, limits: CpioLimits): Buffer {
  const known = [
    { is: buffer.subarray(0, 2).equals(Buffer.from('1f8b', 'hex')), run: gunzipSync },
    { is: buffer.subarray(0, 4).equals(Buffer.from('28b52ffd', 'hex')), run: zstdDecompressSync },
  ].find(({ is }) => is);
  if (known === undefined) {
    const name = UNSUPPORTED.find(([magic]) =>
      buffer.subarray(0, magic.length / 2).equals(Buffer.from(magic, 'hex')),
    )?.[1];
    throw malformed(
      name === undefined ? 'it is no cpio archive' : `${name} is not supported; pack it with gzip, zstd or not at all`,
      0,
    );
  }
  try {
    return known.run(buffer, { maxOutputLength: limits.bytes });
  } catch (cause) {
    if ((cause as { code?: string }).code === 'ERR_BUFFER_TOO_LARGE')
      throw oversized(`more than ${limits.bytes} bytes`);
    throw new LacreError('appraisal.initrd.malformed', 'the compressed part of the initrd is damaged', {}, { cause });
  }
}

/** To the next multiple of four: archives begin at one, so offsets in the buffer will do. */
function align(offset: number): number {
  return (offset + 3) & ~3;
}

function malformed(why: string, offset: number): LacreError {
  return new LacreError('appraisal.initrd.malformed', `the initrd is not well-formed at byte ${offset}: ${why}`, {
    offset,
  });
}

function oversized(what: string): LacreError {
  return new LacreError('appraisal.initrd.oversized', `the initrd holds ${what}`);
}
