import { LacreError } from '../lacre-error.ts';
import { Frame } from './frame.ts';
import { decodeName } from './measured-name.ts';
import type { Measurement, MeasurementKind } from './measurement.ts';
import { LIST_PCRS, type ListPcr, type PendingPrefixes } from './pending-prefixes.ts';
import { checkBufferDigest, malformed, readFileDigest, TemplateFields } from './template.ts';

/** Longest name: PATH_MAX, ` (deleted)` and a name of its own kind leave room to spare. */
const MAX_NAME_BYTES = 8192;
const BOOT_AGGREGATE = 'boot_aggregate';

/** Reads entries of a list one after the other, without keeping any. */
export class EntryReader {
  readonly #frame = new Frame();
  readonly #fields = new TemplateFields();

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
  measurement(buffer: Buffer, index: number, offset: number, endOffset: number): Measurement {
    const { pcr, templateName, dataStart, end, violation } = this.#frame;
    if (templateName === 'ima') return this.#legacy(buffer, index, endOffset);
    const fields = this.#fields;
    fields.read(buffer, dataStart, end, templateName, offset);
    const { fileDigest, digestState } = readFileDigest(buffer, fields.digest, templateName, offset);
    const path = readName(buffer, fields.name.start, fields.name.end, offset);
    const isBuffer = fields.hasBuffer && !violation && fileDigest !== undefined;
    const content = isBuffer ? Buffer.from(buffer.subarray(fields.buffer.start, fields.buffer.end)) : undefined;
    if (content !== undefined && fileDigest !== undefined) checkBufferDigest(content, fileDigest, offset);
    return {
      index,
      pcr,
      template: templateName,
      kind: kindOf(path, index, isBuffer),
      path,
      fileDigest: violation ? undefined : fileDigest,
      digestState: violation ? 'zero' : digestState,
      violation,
      iuid: fields.iuid,
      igid: fields.igid,
      imode: fields.imode,
      endOffset,
      ...(content === undefined ? {} : { buffer: new Uint8Array(content) }),
    };
  }

  /** Template `ima`: a SHA-1 digest, which is refused, and a name that the hash pads with zeros, so without one inside. */
  #legacy(buffer: Buffer, index: number, endOffset: number): Measurement {
    const { pcr, dataStart, end, violation } = this.#frame;
    const name = buffer.subarray(dataStart + 24, end);
    if (name.length === 0 || name.includes(0)) throw malformed('has no name, or a zero in it', endOffset - name.length);
    const path = decodeName(name);
    const none = { fileDigest: undefined, iuid: undefined, igid: undefined, imode: undefined };
    const digestState = violation || isZeroDigest(buffer, dataStart) ? 'zero' : 'refused';
    return {
      index,
      pcr,
      template: 'ima',
      kind: kindOf(path, index, false),
      path,
      ...none,
      digestState,
      violation,
      endOffset,
    };
  }
}

/** n-ng: a name with its final zero, and no other. */
function readName(buffer: Buffer, start: number, end: number, offset: number): string {
  const last = end - 1;
  if (end - start < 2 || end - start > MAX_NAME_BYTES || buffer[last] !== 0)
    throw malformed('has no name, or one that does not end', offset);
  const name = buffer.subarray(start, last);
  if (name.includes(0)) throw malformed('has a zero in its name', offset);
  return decodeName(name);
}

function kindOf(path: string, index: number, isBuffer: boolean): MeasurementKind {
  if (isBuffer) return 'buffer';
  if (path !== BOOT_AGGREGATE) return 'file';
  return index === 0 ? 'boot-aggregate' : 'boot-aggregate-again';
}

function isZeroDigest(buffer: Buffer, start: number): boolean {
  return buffer.subarray(start, start + 20).every((byte) => byte === 0);
}
