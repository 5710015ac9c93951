import type { ByteReader } from '../bytes/byte-reader.ts';
import { LacreError } from '../lacre-error.ts';
import { GENERATED, TAG } from './constants.ts';
import { malformed, readStructure } from './structure.ts';

/** TPMS_PCR_SELECTION, Part 2, 10.6.2. */
export interface PcrSelection {
  /** TPM_ALG_ID of the bank. */
  readonly hash: number;
  /** Ascending. */
  readonly pcrs: readonly number[];
}

/** TPMS_CLOCK_INFO, Part 2, 10.11.1. */
export interface ClockInfo {
  /** Milliseconds that the TPM was powered, over its life. */
  readonly clock: bigint;
  /** Counts TPM Resets: reboots and power cycles. */
  readonly resetCount: number;
  /** Counts TPM Restarts and Resumes: suspends. */
  readonly restartCount: number;
  /** False where the clock may have gone back after an orderless shutdown. */
  readonly safe: boolean;
}

/** A TPMS_ATTEST that is a quote. As parsed it is a claim; verifyQuote makes it more. */
export interface Attest {
  /** TPM2B_NAME of the signer, qualified by its parents up to the hierarchy. */
  readonly qualifiedSigner: Uint8Array;
  readonly extraData: Uint8Array;
  readonly clock: ClockInfo;
  readonly firmwareVersion: bigint;
  readonly quote: { readonly selection: readonly PcrSelection[]; readonly pcrDigest: Uint8Array };
}

const WHAT = 'TPMS_ATTEST';
const MAX_BYTES = 1024;
const MAX_NAME_BYTES = 66;
const MAX_DIGEST_BYTES = 64;
const MAX_BANKS = 16;
const MAX_SELECT_BYTES = 4;

/**
 * Parses a TPMS_ATTEST (Part 2, 10.12.12) that TPM2_Quote made. Magic and type are checked; nothing is proven.
 *
 * Throws tpm.malformed, tpm.quote.type.
 */
export function parseQuote(bytes: Uint8Array): Attest {
  return readStructure(bytes, WHAT, MAX_BYTES, (reader) => {
    const common = readCommon(reader, TAG.ATTEST_QUOTE, 'a quote');
    const selection = readPcrSelections(reader);
    const pcrDigest = reader.sized16(MAX_DIGEST_BYTES).slice();
    return { ...common, quote: { selection, pcrDigest } };
  });
}

/** A TPMS_ATTEST about a key: its Name and its Name qualified by its parents. */
export interface Certification extends Omit<Attest, 'quote'> {
  readonly name: Uint8Array;
  readonly qualifiedName: Uint8Array;
}

/** As parseQuote, of what TPM2_Certify made (TPMS_CERTIFY_INFO, Part 2, 10.12.3). Throws tpm.malformed, tpm.quote.type. */
export function parseCertification(bytes: Uint8Array): Certification {
  return readStructure(bytes, WHAT, MAX_BYTES, (reader) => {
    const common = readCommon(reader, TAG.ATTEST_CERTIFY, 'a key');
    const name = reader.sized16(MAX_NAME_BYTES).slice();
    return { ...common, name, qualifiedName: reader.sized16(MAX_NAME_BYTES).slice() };
  });
}

/** What each TPMS_ATTEST begins with. */
function readCommon(reader: ByteReader, tag: number, what: string): Omit<Attest, 'quote'> {
  if (reader.u32() !== GENERATED) throw notQuote('it does not begin with TPM_GENERATED, so no TPM made it');
  if (reader.u16() !== tag) throw notQuote(`it attests something else than ${what}`);
  const qualifiedSigner = reader.sized16(MAX_NAME_BYTES).slice();
  const extraData = reader.sized16(MAX_DIGEST_BYTES).slice();
  const clock = readClock(reader);
  return { qualifiedSigner, extraData, clock, firmwareVersion: reader.u64() };
}

/** TPMS_CLOCK_INFO. */
export function readClock(reader: ByteReader): ClockInfo {
  const clock = reader.u64();
  const resetCount = reader.u32();
  const restartCount = reader.u32();
  const safe = reader.u8();
  if (safe > 1) throw malformed(WHAT, 'its clock is neither safe nor unsafe');
  return { clock, resetCount, restartCount, safe: safe === 1 };
}

/** TPML_PCR_SELECTION, Part 2, 10.9.7. */
export function readPcrSelections(reader: ByteReader): PcrSelection[] {
  const count = reader.u32();
  if (count > MAX_BANKS) throw malformed(WHAT, `${count} PCR banks are over ${MAX_BANKS}`);
  return Array.from({ length: count }, () => {
    const hash = reader.u16();
    const selectBytes = reader.u8();
    if (selectBytes > MAX_SELECT_BYTES) throw malformed(WHAT, 'a PCR bitmap is too long');
    return { hash, pcrs: bitsOf(reader.bytes(selectBytes)) };
  });
}

function bitsOf(bitmap: Uint8Array): number[] {
  const bits: number[] = [];
  bitmap.forEach((byte, index) => {
    for (let bit = 0; bit < 8; bit++) if ((byte & (1 << bit)) !== 0) bits.push(8 * index + bit);
  });
  return bits;
}

function notQuote(reason: string): LacreError {
  return new LacreError('tpm.quote.type', `${WHAT}: ${reason}`);
}
