import { hash } from 'node:crypto';
import { ownBuffer } from '../bytes/own-buffer.ts';
import { LacreError } from '../lacre-error.ts';
import { DIGEST_LENGTH, type PcrBank } from '../tpm/constants.ts';

/** Bounds of one entry. Paths of the kernel end at 4,096 bytes; a buffer (critical data) may be long. */
export const FRAME_LIMITS = { templateNameBytes: 64, dataBytes: 64 * 1024, legacyNameBytes: 255 } as const;

/** Template digests of the default file, and of those that kernels from 6.10 on keep for each bank besides. */
const DIGEST_BYTES = 20;
const DIGEST_WIDTHS: readonly number[] = [DIGEST_BYTES, 32, 48, 64];
/** `ima`: with PCR, digest and its length before it, it tells one file from the other. */
const SHORTEST_NAME = 3;
/** What a violation folds into a PCR of each bank instead of a digest (ima_init_digests). */
const VIOLATION_DIGESTS: Readonly<Record<PcrBank, string>> = {
  sha256: '\xff'.repeat(DIGEST_LENGTH.sha256),
  sha384: '\xff'.repeat(DIGEST_LENGTH.sha384),
};
/** The template `ima` hashes its name in a field of 256 bytes (ima_calc_field_array_hash_tfm). */
const LEGACY_HASHED_BYTES = DIGEST_BYTES + FRAME_LIMITS.legacyNameBytes + 1;

/**
 * One entry of a binary measurement list as the kernel frames it (ima_measurements_show), little endian. The list's first
 * entry says how long its template digests are: SHA-1's, or those of a bank (binary_runtime_measurements_sha256). Nothing
 * rests on them but whether they are zero. A cursor over one list, filled anew for each entry, so that a long one makes no
 * garbage.
 */
export class Frame {
  pcr = 0;
  templateName = '';
  /** Template data in the buffer last read: from `dataStart` to `end`. */
  dataStart = 0;
  /** Offset in the buffer after the entry. */
  end = 0;
  violation = false;
  #digestBytes = DIGEST_BYTES;
  #templateBytes = Buffer.alloc(0);

  /**
   * Reads the entry at `start`. Returns 0 when it is whole; otherwise at least how many bytes an entry there has, as far
   * as its first bytes tell. `list` is where the buffer begins in the list, for messages.
   * Throws ima.entry.malformed, ima.entry.oversized.
   */
  read(buffer: Buffer, start: number, list: number): number {
    const available = buffer.length - start;
    if (list + start === 0) {
      const needs = this.#findDigestBytes(buffer);
      if (needs > 0) return needs;
    }
    const header = 4 + this.#digestBytes + 4;
    if (available < header) return header;
    const nameBytes = buffer.readUInt32LE(start + header - 4);
    if (nameBytes === 0 || nameBytes > FRAME_LIMITS.templateNameBytes)
      throw oversized('template name', nameBytes, list + start);
    const nameEnd = header + nameBytes;
    if (available < nameEnd + 4) return nameEnd + 4;
    this.#readTemplateName(buffer, start + header, start + nameEnd);
    const total =
      this.templateName === 'ima'
        ? this.#readLegacy(buffer, start, nameEnd, list)
        : this.#readFields(buffer, start, nameEnd, list);
    if (available < total) return total;
    this.pcr = buffer.readUInt32LE(start);
    this.violation = isZero(buffer, start + 4, this.#digestBytes);
    this.end = start + total;
    return 0;
  }

  /** Whether `digest` is just the hash of the template data. */
  get isPlain(): boolean {
    return !this.violation && this.templateName !== 'ima';
  }

  /** What the kernel extends into a bank for the entry: its digest of the template data, a latin1 character a byte. */
  digest(buffer: Buffer, bank: PcrBank): string {
    if (this.violation) return VIOLATION_DIGESTS[bank];
    if (this.templateName !== 'ima') return hash(bank, buffer.subarray(this.dataStart, this.end), 'binary');
    const padded = Buffer.alloc(LEGACY_HASHED_BYTES);
    buffer.copy(padded, 0, this.dataStart, this.dataStart + DIGEST_BYTES);
    buffer.copy(padded, DIGEST_BYTES, this.dataStart + DIGEST_BYTES + 4, this.end);
    return hash(bank, padded, 'binary');
  }

  /**
   * How long the template digests of the list are that begins here; SHA-1's where nothing says otherwise. Returns 0, or
   * how many bytes would tell more: never more than an entry of the next longer digest has.
   */
  #findDigestBytes(buffer: Buffer): number {
    for (const width of DIGEST_WIDTHS) {
      const probe = 4 + width + 4 + SHORTEST_NAME;
      if (buffer.length < probe) return probe;
      if (!hasTemplateAt(buffer, width)) continue;
      this.#digestBytes = width;
      return 0;
    }
    return 0;
  }

  /** Nearly always the name of the entry before: then no text is made. */
  #readTemplateName(buffer: Buffer, start: number, end: number): void {
    const { length } = this.#templateBytes;
    let same = end - start === length;
    for (let i = 0; same && i < length; i++) same = buffer[start + i] === this.#templateBytes[i];
    if (same) return;
    this.#templateBytes = ownBuffer(buffer.subarray(start, end));
    this.templateName = this.#templateBytes.toString('latin1');
  }

  #readFields(buffer: Buffer, start: number, nameEnd: number, list: number): number {
    const dataBytes = buffer.readUInt32LE(start + nameEnd);
    if (dataBytes > FRAME_LIMITS.dataBytes) throw oversized('template data', dataBytes, list + start);
    this.dataStart = start + nameEnd + 4;
    return nameEnd + 4 + dataBytes;
  }

  /** The template `ima`: a bare SHA-1 digest, then a name behind its length. */
  #readLegacy(buffer: Buffer, start: number, nameEnd: number, list: number): number {
    this.dataStart = start + nameEnd;
    const fixed = nameEnd + DIGEST_BYTES + 4;
    if (buffer.length - start < fixed) return fixed;
    const nameBytes = buffer.readUInt32LE(start + nameEnd + DIGEST_BYTES);
    if (nameBytes > FRAME_LIMITS.legacyNameBytes) throw oversized('name', nameBytes, list + start);
    return fixed + nameBytes;
  }
}

/** Whether a length and a name that begins as the kernel's templates do come after a digest of `width` bytes. */
function hasTemplateAt(buffer: Buffer, width: number): boolean {
  const at = 4 + width;
  const nameBytes = buffer.readUInt32LE(at);
  const isName = nameBytes >= SHORTEST_NAME && nameBytes <= FRAME_LIMITS.templateNameBytes;
  const name = buffer.toString('latin1', at + 4, at + 7);
  return isName && (name === 'ima' || name === 'evm');
}

function isZero(buffer: Buffer, start: number, length: number): boolean {
  for (let i = start; i < start + length; i++) if (buffer[i] !== 0) return false;
  return true;
}

function oversized(what: string, size: number, offset: number): LacreError {
  return new LacreError(
    'ima.entry.oversized',
    `the ${what} of the entry at byte ${offset} has an impossible length of ${size}`,
    {
      offset,
      size,
    },
  );
}
