import { LacreError } from '../lacre-error.ts';
import { Frame } from './frame.ts';
import { KEY_DIGEST_BYTES, type KnownFiles, MeasuredFile, placeOf } from './measured-file.ts';
import { decodeName } from './measured-name.ts';
import { type FileDigest, ListedMeasurement } from './measurement.ts';
import { LIST_PCRS, type ListPcr, type PendingPrefixes } from './pending-prefixes.ts';
import { checkBufferDigest, isPlainDigest, malformed, readFileDigest, TemplateFields } from './template.ts';

/** Longest name: PATH_MAX, ` (deleted)` and a name of its own kind leave room to spare. */
const MAX_NAME_BYTES = 8192;
const NO_INODE = { iuid: undefined, igid: undefined, imode: undefined };
const VIOLATED: FileDigest = { fileDigest: undefined, digestState: 'zero' };

/** Reads entries of a list one after the other, without keeping any. */
export class EntryReader {
  readonly #frame = new Frame();
  readonly #fields = new TemplateFields();
  /** Where files are looked up before they get objects of their own. */
  known: readonly KnownFiles[] = [];

  /** Offset in the buffer after the entry last framed. */
  get end(): number {
    return this.#frame.end;
  }

  /** As Frame.read: 0 when the entry at `start` is whole. */
  frame(buffer: Buffer, start: number, list: number): number {
    return this.#frame.read(buffer, start, list);
  }

  /**
   * Folds the entry last framed into its PCR, among those that wait for a quote. The buffer may not change before
   * `pending.finish`. Throws ima.list.oversized.
   */
  fold(buffer: Buffer, pcr: ListPcr, pending: PendingPrefixes): void {
    const frame = this.#frame;
    if (pending.bank === 'sha256' && frame.isPlain) pending.extendLater(pcr, buffer, frame.dataStart, frame.end);
    else pending.extend(pcr, frame.digest(buffer, pending.bank));
  }

  /** PCR of the entry last framed. Throws ima.entry.pcr. */
  pcr(offset: number): ListPcr {
    const { pcr } = this.#frame;
    if (pcr === 10 || pcr === 13 || pcr === 14) return pcr;
    throw new LacreError(
      'ima.entry.pcr',
      `the entry at byte ${offset} is for PCR ${this.#frame.pcr}; a node measures into ${LIST_PCRS.join(', ')}`,
      {
        offset,
        pcr: this.#frame.pcr,
      },
    );
  }

  /**
   * The entry last framed, with all that its template says. `offset` is where it begins in the list.
   * Throws ima.entry.malformed, ima.entry.template.
   */
  measurement(buffer: Buffer, index: number, offset: number, endOffset: number): ListedMeasurement {
    const { pcr, templateName: template, dataStart, end, violation } = this.#frame;
    const entry = { index, pcr, template, violation, endOffset };
    if (template === 'ima') return new ListedMeasurement(this.#legacy(buffer, offset), entry, NO_INODE);
    const fields = this.#fields;
    fields.read(buffer, dataStart, end, template, offset);
    return new ListedMeasurement(this.#file(buffer, offset), entry, fields);
  }

  /** What the fields say of the file: nearly always one of a plain name and digest. */
  #file(buffer: Buffer, offset: number): MeasuredFile {
    const { digest, name, hasBuffer } = this.#fields;
    const { templateName, violation } = this.#frame;
    const plain = !violation && !hasBuffer && isPlainDigest(buffer, digest, templateName);
    if (plain && isName(buffer, name.start, name.end)) {
      const file = this.#plainFile(buffer, digest.end - KEY_DIGEST_BYTES, name.start, name.end - 1);
      if (file !== undefined) return file;
    }
    const found = readFileDigest(buffer, digest, templateName, offset);
    const path = readName(buffer, name.start, name.end, offset);
    if (violation) return MeasuredFile.of(path, VIOLATED);
    if (!hasBuffer || found.fileDigest === undefined) return MeasuredFile.of(path, found);
    const content = Buffer.from(buffer.subarray(this.#fields.buffer.start, this.#fields.buffer.end));
    checkBufferDigest(content, found.fileDigest, offset);
    return MeasuredFile.of(path, found, new Uint8Array(content));
  }

  /** A file with a SHA-256 digest; undefined where its name is not plain. */
  #plainFile(buffer: Buffer, digestStart: number, nameStart: number, nameEnd: number): MeasuredFile | undefined {
    const place = placeOf(buffer, nameStart, nameEnd, buffer, digestStart);
    if (place < 0) return undefined;
    for (const files of this.known) {
      const file = files.find(buffer, digestStart, nameStart, nameEnd, place);
      if (file !== undefined) return file;
    }
    return MeasuredFile.plain(buffer.toString('latin1', digestStart, nameEnd), place);
  }

  /** Template `ima`: a SHA-1 digest, which is refused, and a name that the hash pads with zeros, so without one inside. */
  #legacy(buffer: Buffer, offset: number): MeasuredFile {
    const { dataStart, end, violation } = this.#frame;
    const name = buffer.subarray(dataStart + 24, end);
    if (name.length === 0 || name.includes(0)) throw malformed('has no name, or a zero in it', offset);
    const digestState = violation || isZeroDigest(buffer, dataStart) ? 'zero' : 'refused';
    return MeasuredFile.of(decodeName(name), { fileDigest: undefined, digestState });
  }
}

function isName(buffer: Buffer, start: number, end: number): boolean {
  return end - start >= 2 && end - start <= MAX_NAME_BYTES && buffer[end - 1] === 0;
}

/** n-ng: a name with its final zero, and no other. */
function readName(buffer: Buffer, start: number, end: number, offset: number): string {
  if (!isName(buffer, start, end)) throw malformed('has no name, or one that does not end', offset);
  const name = buffer.subarray(start, end - 1);
  if (name.includes(0)) throw malformed('has a zero in its name', offset);
  return decodeName(name);
}

function isZeroDigest(buffer: Buffer, start: number): boolean {
  return buffer.subarray(start, start + 20).every((byte) => byte === 0);
}
