import { ByteReader } from '../bytes/byte-reader.ts';
import { LacreError } from '../lacre-error.ts';
import { EV_NO_ACTION, eventTypeName } from './event-type.ts';

/** Banks whose digests are kept; those of other algorithms are skipped over. */
export type Bank = 'sha1' | 'sha256' | 'sha384' | 'sha512';

/** One event as the firmware logged it. Nothing of it is proven until a quote explains the PCRs that it replays to. */
export interface BootEvent {
  /** Position in the log, from 0; the header of a crypto-agile log is event 0. */
  readonly index: number;
  readonly pcr: number;
  /** Claimed for ever: no digest covers it. */
  readonly type: number;
  readonly typeName: string;
  readonly digests: Readonly<Partial<Record<Bank, Uint8Array>>>;
  /** Claimed, unless its digest is the hash of it. */
  readonly data: Uint8Array;
}

/** Bounds of a log: 1 MiB, 10,000 events. */
export const EVENT_LOG_LIMITS = { bytes: 1 << 20, events: 10_000, algorithms: 16, digestBytes: 64 } as const;

const HIGHEST_PCR = 23;
/** Logs of Windows give events that extend nothing this PCR. */
const NO_PCR = 0xffff_ffff;
const SPEC_ID = Buffer.from('Spec ID Event03\0', 'latin1');

/** TPM_ALG_ID (TPM 2.0 Part 2, 6.3) of the banks that are kept. */
const BANKS: ReadonlyMap<number, { readonly bank: Bank; readonly size: number }> = new Map([
  [0x0004, { bank: 'sha1', size: 20 }],
  [0x000b, { bank: 'sha256', size: 32 }],
  [0x000c, { bank: 'sha384', size: 48 }],
  [0x000d, { bank: 'sha512', size: 64 }],
]);

/**
 * Reads a firmware event log, crypto-agile or SHA-1 only, as the kernel shows it in binary_bios_measurements. Well-formed
 * on return, not trusted: types, data and order are claims until replayed and quoted.
 *
 * PC Client Platform Firmware Profile 1.06, 10.2. Throws boot.log.malformed, boot.log.oversized, bytes.truncated,
 * bytes.oversized.
 */
export function parseEventLog(bytes: Uint8Array): BootEvent[] {
  if (bytes.length > EVENT_LOG_LIMITS.bytes) throw oversized('bytes', bytes.length, EVENT_LOG_LIMITS.bytes);
  const reader = new ByteReader(bytes, 'event log', { littleEndian: true });
  if (reader.remaining === 0) throw malformed('the event log is empty', 0);
  const first = readSha1Event(reader, 0);
  const sizes = isSpecId(first) ? readAlgorithmSizes(first.data) : undefined;
  const events = [first];
  while (reader.remaining > 0) {
    const index = events.length;
    if (index >= EVENT_LOG_LIMITS.events) throw oversized('events', index + 1, EVENT_LOG_LIMITS.events);
    events.push(sizes === undefined ? readSha1Event(reader, index) : readEvent(reader, index, sizes));
  }
  return events;
}

/** TCG_PCClientPCREvent: the only form of a SHA-1 log, and the header of a crypto-agile one. */
function readSha1Event(reader: ByteReader, index: number): BootEvent {
  const pcr = reader.u32();
  const type = reader.u32();
  checkPcr(pcr, type, reader.offset);
  const sha1 = reader.bytes(20);
  return {
    index,
    pcr,
    type,
    typeName: eventTypeName(type),
    digests: { sha1 },
    data: reader.sized32(EVENT_LOG_LIMITS.bytes),
  };
}

/** TCG_PCR_EVENT2. */
function readEvent(reader: ByteReader, index: number, sizes: ReadonlyMap<number, number>): BootEvent {
  const pcr = reader.u32();
  const type = reader.u32();
  checkPcr(pcr, type, reader.offset);
  const count = reader.u32();
  if (count > sizes.size) throw malformed(`event ${index} has more digests than the log has algorithms`, reader.offset);
  const digests: Partial<Record<Bank, Uint8Array>> = {};
  const seen = new Set<number>();
  for (let i = 0; i < count; i++) {
    const algorithm = reader.u16();
    const size = sizes.get(algorithm);
    if (size === undefined || seen.has(algorithm)) {
      throw malformed(
        `event ${index} has a digest of an algorithm that the header does not name, or twice`,
        reader.offset,
      );
    }
    seen.add(algorithm);
    const digest = reader.bytes(size);
    const known = BANKS.get(algorithm);
    if (known !== undefined) digests[known.bank] = digest;
  }
  return { index, pcr, type, typeName: eventTypeName(type), digests, data: reader.sized32(EVENT_LOG_LIMITS.bytes) };
}

function isSpecId(event: BootEvent): boolean {
  return event.type === EV_NO_ACTION && SPEC_ID.equals(event.data.subarray(0, SPEC_ID.length));
}

/** TCG_EfiSpecIdEvent: which digest has which length. */
function readAlgorithmSizes(data: Uint8Array): Map<number, number> {
  const reader = new ByteReader(data, 'event log header', { littleEndian: true });
  reader.bytes(SPEC_ID.length + 8); // platform class, version, errata, size of UINTN
  const count = reader.u32();
  if (count === 0 || count > EVENT_LOG_LIMITS.algorithms)
    throw malformed(`the header names ${count} algorithms`, reader.offset);
  const sizes = new Map<number, number>();
  for (let i = 0; i < count; i++) {
    const algorithm = reader.u16();
    const size = reader.u16();
    const expected = BANKS.get(algorithm)?.size;
    const fits = expected === undefined ? size > 0 && size <= EVENT_LOG_LIMITS.digestBytes : size === expected;
    if (!fits || sizes.has(algorithm)) {
      throw malformed(
        `the header gives algorithm 0x${algorithm.toString(16)} a size of ${size}, or names it twice`,
        reader.offset,
      );
    }
    sizes.set(algorithm, size);
  }
  reader.bytes(reader.u8()); // vendor information
  reader.end();
  return sizes;
}

function checkPcr(pcr: number, type: number, offset: number): void {
  if (pcr <= HIGHEST_PCR || (pcr === NO_PCR && type === EV_NO_ACTION)) return;
  throw malformed(`an event is for PCR ${pcr}, which no TPM has`, offset);
}

function malformed(sentence: string, offset: number): LacreError {
  return new LacreError('boot.log.malformed', `${sentence} (offset ${offset})`, { offset });
}

function oversized(what: string, size: number, bound: number): LacreError {
  return new LacreError('boot.log.oversized', `the event log has ${size} ${what}, more than ${bound}`, { size, bound });
}
