import { hash } from 'node:crypto';
import { LacreError } from '../lacre-error.ts';
import type { FileDigest, Measurement } from './measurement.ts';

/** Fields whose meaning matters; `other` is covered by the digest, and not looked at. */
type Field = 'd-ng' | 'd-ngv2' | 'n-ng' | 'buf' | 'iuid' | 'igid' | 'imode' | 'other';

/**
 * The kernel's built-in templates (ima_template.c). The digest of an entry covers its fields, not the template's name.
 * So only templates are read that can't be taken for one another: another number of fields, another form of digest, or a
 * check of content (ima-buf). A format put together on the command line is refused: its fields could be renamed. All begin
 * with digest and name, one right behind the other.
 */
export const TEMPLATES: ReadonlyMap<string, readonly Field[]> = new Map<string, readonly Field[]>([
  ['ima-ng', ['d-ng', 'n-ng']],
  ['ima-ngv2', ['d-ngv2', 'n-ng']],
  ['ima-sig', ['d-ng', 'n-ng', 'other']],
  ['ima-sigv2', ['d-ngv2', 'n-ng', 'other']],
  ['ima-buf', ['d-ng', 'n-ng', 'buf']],
  ['ima-modsig', ['d-ng', 'n-ng', 'other', 'other', 'other']],
  ['evm-sig', ['d-ng', 'n-ng', 'other', 'other', 'other', 'other', 'iuid', 'igid', 'imode']],
]);

/** Where a field lies in the buffer. */
interface Span {
  start: number;
  end: number;
}

/** Fields of one entry, in a form that is used again for the next: positions, and numbers. */
export class TemplateFields {
  readonly digest: Span = { start: 0, end: 0 };
  readonly name: Span = { start: 0, end: 0 };
  readonly buffer: Span = { start: 0, end: 0 };
  hasBuffer = false;
  iuid: Measurement['iuid'];
  igid: Measurement['igid'];
  imode: Measurement['imode'];

  /** Splits the template data from `start` to `end`. Throws ima.entry.malformed, ima.entry.template. */
  read(buffer: Buffer, start: number, end: number, template: string, offset: number): void {
    const fields = TEMPLATES.get(template);
    if (fields === undefined) {
      throw new LacreError(
        'ima.entry.template',
        `the entry at byte ${offset} is in the template ${JSON.stringify(template)}, which is none of the built-in ones`,
        {
          offset,
          template,
        },
      );
    }
    this.hasBuffer = false;
    this.iuid = this.igid = this.imode = undefined;
    let at = start;
    for (const field of fields) {
      const dataStart = at + 4;
      if (dataStart > end) throw malformed('ends before its last field', offset);
      const dataEnd = dataStart + buffer.readUInt32LE(at);
      if (dataEnd > end) throw malformed('has a field that is longer than itself', offset);
      this.#take(field, buffer, dataStart, dataEnd, offset);
      at = dataEnd;
    }
    if (at !== end) throw malformed('has bytes behind its last field', offset);
  }

  #take(field: Field, buffer: Buffer, start: number, end: number, offset: number): void {
    switch (field) {
      case 'd-ng':
      case 'd-ngv2':
        set(this.digest, start, end);
        break;
      case 'n-ng':
        set(this.name, start, end);
        break;
      case 'buf':
        set(this.buffer, start, end);
        this.hasBuffer = true;
        break;
      case 'iuid':
        this.iuid = number(buffer, start, end, 4, offset);
        break;
      case 'igid':
        this.igid = number(buffer, start, end, 4, offset);
        break;
      case 'imode':
        this.imode = number(buffer, start, end, 2, offset);
        break;
    }
  }
}

/** Algorithms whose digests are compared with reference values, by the prefix of the field. */
const ALGORITHMS = [
  { algorithm: 'sha256', prefix: Buffer.from('sha256:\0'), size: 32 },
  { algorithm: 'sha512', prefix: Buffer.from('sha512:\0'), size: 64 },
  { algorithm: 'sha384', prefix: Buffer.from('sha384:\0'), size: 48 },
] as const;
/** d-ngv2 says first what was hashed. A digest of a fs-verity tree is not one of the content. */
const FILE_PREFIX = Buffer.from('ima:');
const VERITY_PREFIX = Buffer.from('verity:');

const ZERO: FileDigest = { fileDigest: undefined, digestState: 'zero' };
const REFUSED: FileDigest = { fileDigest: undefined, digestState: 'refused' };

/**
 * Reads a d-ng (`alg:\0` digest) or d-ngv2 (`type:alg:\0` digest) field. A zero digest is unknown, not a value.
 * Throws ima.entry.malformed.
 */
export function readFileDigest(buffer: Buffer, span: Span, template: string, offset: number): FileDigest {
  let { start } = span;
  if (saysType(template)) {
    if (begins(buffer, start, span.end, VERITY_PREFIX)) return REFUSED;
    if (!begins(buffer, start, span.end, FILE_PREFIX)) throw malformed('does not say what its digest is of', offset);
    start += FILE_PREFIX.length;
  }
  for (const { algorithm, prefix, size } of ALGORITHMS) {
    if (!begins(buffer, start, span.end, prefix)) continue;
    const digestStart = start + prefix.length;
    if (span.end - digestStart !== size)
      throw malformed(`has a ${algorithm} digest of ${span.end - digestStart} bytes`, offset);
    if (isZero(buffer, digestStart, span.end)) return ZERO;
    return { fileDigest: { algorithm, hex: buffer.toString('hex', digestStart, span.end) }, digestState: 'usable' };
  }
  return readForeignDigest(buffer, start, span.end, offset);
}

/** Whether a digest field is of the form d-ng, SHA-256, and not zero, as nearly all are: a usable one to readFileDigest. */
export function isPlainDigest(buffer: Buffer, { start, end }: Span, template: string): boolean {
  const { prefix, size } = ALGORITHMS[0];
  if (saysType(template)) return false;
  return end - start === prefix.length + size && begins(buffer, start, end, prefix) && !isZero(buffer, end - size, end);
}

function saysType(template: string): boolean {
  return template === 'ima-ngv2' || template === 'ima-sigv2';
}

/** Another algorithm (or a violation's `sha1`, whose digest has any length): at most zero, never usable. */
function readForeignDigest(buffer: Buffer, start: number, end: number, offset: number): FileDigest {
  const colon = buffer.subarray(start, Math.min(end, start + 32)).indexOf(':\0');
  if (colon < 1 || buffer.subarray(start, start + colon).includes(0x3a))
    throw malformed('does not name the algorithm of its digest', offset);
  return isZero(buffer, start + colon + 2, end) ? ZERO : REFUSED;
}

/**
 * A buffer's entry has the digest of the buffer it shows (process_buffer_measurement). Without this check an executed
 * file's entry could be passed off as one, for the template's name is not covered. Throws ima.entry.malformed.
 */
export function checkBufferDigest(
  content: Buffer,
  digest: NonNullable<Measurement['fileDigest']>,
  offset: number,
): void {
  if (hash(digest.algorithm, content, 'hex') === digest.hex) return;
  throw malformed('is said to be a buffer, but its digest is not of its content', offset);
}

export function malformed(what: string, offset: number): LacreError {
  return new LacreError('ima.entry.malformed', `the entry at byte ${offset} ${what}`, { offset });
}

function set(span: Span, start: number, end: number): void {
  span.start = start;
  span.end = end;
}

/** Owner and mode are absent where the kernel had no file (boot_aggregate). */
function number(buffer: Buffer, start: number, end: number, size: 2 | 4, offset: number): number | undefined {
  if (start === end) return undefined;
  if (end - start !== size) throw malformed(`has an owner or mode of ${end - start} bytes`, offset);
  return buffer.readUIntLE(start, size);
}

function begins(buffer: Buffer, start: number, end: number, prefix: Buffer): boolean {
  if (end - start < prefix.length) return false;
  for (let i = 0; i < prefix.length; i++) if (buffer[start + i] !== prefix[i]) return false;
  return true;
}

function isZero(buffer: Buffer, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (buffer[i] !== 0) return false;
  return true;
}
