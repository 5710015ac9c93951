import { createHash } from 'node:crypto';
import { ByteWriter } from '../../src/bytes/byte-writer.ts';
import { sha256 } from '../../src/bytes/sha256.ts';

/** One entry of a measurement list to write, as the kernel would or would not. */
export interface EntryOptions {
  readonly pcr?: number;
  readonly template?: string;
  readonly path?: string | Uint8Array;
  /** Digest field's algorithm; d-ngv2 templates get their prefix. */
  readonly algorithm?: string;
  readonly digest?: Uint8Array;
  /** Fields after digest and name, as they are. */
  readonly rest?: readonly Uint8Array[];
  readonly violation?: boolean;
}

const DEFAULT_DIGEST = sha256(Buffer.from('content'));

/** Fields that evm-sig has after digest and name: owner and mode little endian, attributes empty. */
export function evmSigFields(iuid: number, igid: number = iuid, imode = 0o100755): Uint8Array[] {
  const empty = new Uint8Array();
  return [empty, empty, empty, empty, u32(iuid), u32(igid), u32(imode).subarray(0, 2)];
}

/** Template data: each field behind its length. */
export function templateData(options: EntryOptions): Uint8Array {
  const template = options.template ?? 'ima-sig';
  const prefix = `${template.endsWith('v2') ? 'ima:' : ''}${options.algorithm ?? (options.violation ? 'sha1' : 'sha256')}:\0`;
  const digest = options.digest ?? (options.violation ? new Uint8Array(32) : DEFAULT_DIGEST);
  const rest = options.rest ?? (template === 'ima-ng' || template === 'ima-ngv2' ? [] : [new Uint8Array()]);
  const name = Buffer.concat([Buffer.from(options.path ?? '/bin/app'), Buffer.from([0])]);
  const writer = new ByteWriter({ littleEndian: true });
  for (const field of [Buffer.concat([Buffer.from(prefix), digest]), name, ...rest])
    writer.u32(field.length).bytes(field);
  return writer.finish();
}

/** One entry of a binary measurement list. */
export function listEntry(options: EntryOptions = {}): Uint8Array {
  return frame(options.pcr ?? 10, options.template ?? 'ima-sig', templateData(options), options.violation ?? false);
}

/** An entry around any template data. */
export function frame(pcr: number, template: string, data: Uint8Array, violation = false): Uint8Array {
  const digest = violation ? new Uint8Array(20) : new Uint8Array(createHash('sha1').update(data).digest());
  const writer = new ByteWriter({ littleEndian: true }).u32(pcr).bytes(digest).u32(template.length);
  return writer.bytes(Buffer.from(template)).u32(data.length).bytes(data).finish();
}

/** An entry of the oldest template, whose digest is bare and whose data has no length. */
export function legacyEntry(name: string, digest: Uint8Array = new Uint8Array(20).fill(7)): Uint8Array {
  const bytes = Buffer.from(name);
  const writer = new ByteWriter({ littleEndian: true }).u32(10).bytes(new Uint8Array(20).fill(9)).u32(3);
  return writer.bytes(Buffer.from('ima')).bytes(digest).u32(bytes.length).bytes(bytes).finish();
}

/** What the kernel extends for template data, or for a violation. */
export function extendedDigest(options: EntryOptions): Uint8Array {
  return options.violation ? new Uint8Array(32).fill(0xff) : sha256(templateData(options));
}

/** PCR values after these entries. */
export function foldEntries(
  entries: readonly EntryOptions[],
  start: ReadonlyMap<number, Uint8Array>,
): Map<number, Uint8Array> {
  const values = new Map(start);
  for (const entry of entries) {
    const pcr = entry.pcr ?? 10;
    values.set(pcr, sha256(values.get(pcr) ?? new Uint8Array(32), extendedDigest(entry)));
  }
  return values;
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

function u32(value: number): Uint8Array {
  return new ByteWriter({ littleEndian: true }).u32(value).finish();
}
