import { at } from '../bytes/at.ts';
import type { ByteReader } from '../bytes/byte-reader.ts';
import { ByteWriter } from '../bytes/byte-writer.ts';
import { type ClockInfo, readClock, readPcrSelections } from './attest.ts';
import { buildCommand, EMPTY_PASSWORD, type TpmCommand } from './command.ts';
import { COMMAND, HANDLE, HASH_ID, type PcrBank } from './constants.ts';
import { malformed } from './structure.ts';

/** TPMA_NV, Part 2, 13.4: who may read an index. */
const NV_OWNER_READ = 1 << 17;
const NV_AUTH_READ = 1 << 18;
/** TPM_CAP, Part 2, 6.12. */
const CAP_HANDLES = 1;
const CAP_PCRS = 5;
const CAP_ECC_CURVES = 8;
const MAX_LISTED = 256;
/** TPM_SU_CLEAR. */
const STARTUP_CLEAR = 0;

/** TPML_PCR_SELECTION of one bank with a bitmap of three bytes. */
export function pcrSelection(bank: PcrBank, pcrs: readonly number[]): Uint8Array {
  const bitmap = new Uint8Array(3);
  for (const pcr of pcrs) bitmap[pcr >> 3] = at(bitmap, pcr >> 3) | (1 << (pcr & 7));
  return new ByteWriter().u32(1).u16(HASH_ID[bank]).u8(bitmap.length).bytes(bitmap).finish();
}

/** TPM2_Startup(CLEAR) (Part 3, 9.3): for a software TPM that nobody started. */
export function startup(): TpmCommand<void> {
  return buildCommand({
    name: 'TPM2_Startup',
    code: COMMAND.STARTUP,
    parameters: new ByteWriter().u16(STARTUP_CLEAR).finish(),
    read: () => undefined,
  });
}

/**
 * TPM2_PCR_Read (Part 3, 22.4) of one bank: values by PCR. A TPM answers with up to eight, so the
 * caller asks again for what is missing. Unsigned: for diagnosis, never evidence.
 */
export function readPcrs(bank: PcrBank, pcrs: readonly number[]): TpmCommand<Map<number, Uint8Array>> {
  return buildCommand({
    name: 'TPM2_PCR_Read',
    code: COMMAND.PCR_READ,
    parameters: pcrSelection(bank, pcrs),
    read: (reader) => {
      reader.u32(); // pcrUpdateCounter
      const read = readPcrSelections(reader).flatMap((bank) => bank.pcrs);
      const count = reader.u32();
      if (count !== read.length) throw malformed('TPM2_PCR_Read', `${read.length} PCRs have ${count} values`);
      return new Map(read.map((pcr) => [pcr, reader.sized16(64).slice()] as const));
    },
  });
}

/** TPM2_PCR_Extend (Part 3, 22.2) of one bank, by each digest in turn: one to four, each as long as the bank's. */
export function extendPcr(pcr: number, bank: PcrBank, ...digests: readonly Uint8Array[]): TpmCommand<void> {
  const parameters = new ByteWriter().u32(digests.length);
  for (const digest of digests) parameters.u16(HASH_ID[bank]).bytes(digest);
  return buildCommand({
    name: 'TPM2_PCR_Extend',
    code: COMMAND.PCR_EXTEND,
    handles: [pcr],
    sessions: [EMPTY_PASSWORD],
    parameters: parameters.finish(),
    read: () => undefined,
  });
}

/** TPM2_ReadClock (Part 3, 29.1). Unsigned. */
export function readTpmClock(): TpmCommand<ClockInfo> {
  return buildCommand({
    name: 'TPM2_ReadClock',
    code: COMMAND.READ_CLOCK,
    read: (reader) => {
      reader.u64(); // time since power-on
      return readClock(reader);
    },
  });
}

/** What TPM2_NV_ReadPublic says of an index. */
export interface NvIndex {
  readonly index: number;
  /** Bytes it holds, at most 65,535. */
  readonly size: number;
  /** Who authorizes a read: the index itself or the owner; undefined: neither may. */
  readonly reader: number | undefined;
}

/** TPM2_NV_ReadPublic (Part 3, 31.6). */
export function readNvPublic(index: number): TpmCommand<NvIndex> {
  return buildCommand({
    name: 'TPM2_NV_ReadPublic',
    code: COMMAND.NV_READ_PUBLIC,
    handles: [index],
    read: (reader) => {
      reader.bytes(2 + 4 + 2); // size of the structure, index, nameAlg
      const attributes = reader.u32();
      reader.sized16(64);
      const size = reader.u16();
      reader.bytes(reader.remaining);
      const owner = (attributes & NV_OWNER_READ) === 0 ? undefined : HANDLE.OWNER;
      return { index, size, reader: (attributes & NV_AUTH_READ) === 0 ? owner : index };
    },
  });
}

/** TPM2_NV_Read (Part 3, 31.13) of `length` bytes from `offset`, authorized by `reader` with an empty password. */
export function readNv(index: number, reader: number, offset: number, length: number): TpmCommand<Uint8Array> {
  return buildCommand({
    name: 'TPM2_NV_Read',
    code: COMMAND.NV_READ,
    handles: [reader, index],
    sessions: [EMPTY_PASSWORD],
    parameters: new ByteWriter().u16(length).u16(offset).finish(),
    read: (answer) => answer.sized16(length).slice(),
  });
}

/** TPM2_GetCapability (Part 3, 30.2): handles from `first` on, of its kind, at most `count`. */
export function listHandles(first: number, count: number): TpmCommand<number[]> {
  return capability(CAP_HANDLES, first, count, (reader) => reader.u32());
}

/** TPM2_GetCapability: banks that have PCRs at all, as TPM_ALG_ID. */
export function listBanks(): TpmCommand<number[]> {
  return capabilityOf(CAP_PCRS, 0, 1, (reader) =>
    readPcrSelections(reader)
      .filter(({ pcrs }) => pcrs.length > 0)
      .map(({ hash }) => hash),
  );
}

/** TPM2_GetCapability: the curves that the TPM has, as TPM_ECC_CURVE. */
export function listCurves(): TpmCommand<number[]> {
  return capability(CAP_ECC_CURVES, 0, 64, (reader) => reader.u16());
}

function capability(
  kind: number,
  property: number,
  count: number,
  item: (reader: ByteReader) => number,
): TpmCommand<number[]> {
  return capabilityOf(kind, property, count, (reader, name) => {
    const listed = reader.u32();
    if (listed > MAX_LISTED) throw malformed(name, `${listed} items are over ${MAX_LISTED}`);
    return Array.from({ length: listed }, () => item(reader));
  });
}

function capabilityOf<T>(
  kind: number,
  property: number,
  count: number,
  data: (reader: ByteReader, name: string) => T,
): TpmCommand<T> {
  const name = 'TPM2_GetCapability';
  return buildCommand({
    name,
    code: COMMAND.GET_CAPABILITY,
    parameters: new ByteWriter().u32(kind).u32(property).u32(count).finish(),
    read: (reader) => {
      reader.u8(); // moreData
      if (reader.u32() !== kind) throw malformed(name, 'it answers for another capability');
      return data(reader, name);
    },
  });
}
