import { equalBytes } from '../bytes/equal.ts';
import { sha256 } from '../bytes/sha256.ts';
import { LacreError } from '../lacre-error.ts';
import { type Attest, type ClockInfo, type PcrSelection, parseQuote } from './attest.ts';
import { VerifiedAttestationKey } from './attestation-key.ts';
import { ALG } from './constants.ts';
import { isSignedBy, parseSignature } from './signature.ts';

/** The PCRs that a quote must cover, of the SHA-256 bank, no more and no less (DESIGN section 4). */
export const QUOTED_PCRS: readonly number[] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14];

const MAKE = Symbol('only verifyQuote makes one');

/**
 * What a TPM signed: the digest over the PCRs of `pcrs`, at the time of `clock`, in answer to the extra data that was
 * asked for. Which values the PCRs had is proven by `explains`; that the key is a TPM's by credential activation.
 */
export class VerifiedQuote {
  readonly #brand = true;
  /** SHA-256 over the values of `pcrs`, in their order: 32 bytes. */
  readonly pcrDigest: Uint8Array;
  readonly pcrs: readonly number[];
  readonly clock: ClockInfo;
  readonly firmwareVersion: bigint;
  readonly qualifiedSigner: Uint8Array;
  readonly keyNameHex: string;

  constructor(token: typeof MAKE, attest: Attest, pcrs: readonly number[], key: VerifiedAttestationKey) {
    if (token !== MAKE) throw new TypeError('use verifyQuote');
    this.pcrDigest = attest.quote.pcrDigest;
    this.pcrs = pcrs;
    this.clock = attest.clock;
    this.firmwareVersion = attest.firmwareVersion;
    this.qualifiedSigner = attest.qualifiedSigner;
    this.keyNameHex = key.nameHex;
  }

  static isVerified(value: object): value is VerifiedQuote {
    return #brand in value;
  }

  /**
   * Whether these are the values that the PCRs had: SHA-256 over them equals the signed digest. Each is 32 bytes; a map
   * is by PCR number, an array in the order of `pcrs`. False where one is missing.
   */
  explains(values: ReadonlyMap<number, Uint8Array> | readonly Uint8Array[]): boolean {
    if (Array.isArray(values) && values.length !== this.pcrs.length) return false;
    const ordered = this.pcrs.map((pcr, index) => (values instanceof Map ? values.get(pcr) : at(values, index)));
    if (!ordered.every((value): value is Uint8Array => value?.length === 32)) return false;
    return equalBytes(sha256(...ordered), this.pcrDigest);
  }
}

/** Input of verifyQuote; all but `key` and what was asked for is hostile. */
export interface QuoteInput {
  /** TPMS_ATTEST. */
  readonly attest: Uint8Array;
  /** TPMT_SIGNATURE. */
  readonly signature: Uint8Array;
  readonly key: VerifiedAttestationKey;
  /** What the TPM was asked to sign along: 32 bytes (quoteExtraData, enrolmentExtraData). */
  readonly extraData: Uint8Array;
  /** PCRs that the quote must cover; QUOTED_PCRS unless a recording of another selection is looked at. */
  readonly pcrs?: readonly number[];
}

/**
 * Verifies a TPM2_Quote (Part 3, 18.4): the signature is by `key` in the key's own scheme, over a TPM-made structure that
 * holds `extraData` and a SHA-256 digest of exactly `pcrs`.
 *
 * Throws tpm.malformed, tpm.unsupported, tpm.quote.signature, tpm.quote.type, tpm.quote.extra-data, tpm.quote.selection.
 */
export function verifyQuote(input: QuoteInput): VerifiedQuote {
  if (!VerifiedAttestationKey.isVerified(input.key)) throw new TypeError('the key was not verified');
  checkSignature(input);
  const attest = parseQuote(input.attest);
  if (!equalBytes(attest.extraData, input.extraData)) {
    throw new LacreError('tpm.quote.extra-data', 'the quote answers another nonce, request or connection');
  }
  const pcrs = input.pcrs ?? QUOTED_PCRS;
  checkSelection(attest, pcrs);
  return new VerifiedQuote(MAKE, attest, pcrs, input.key);
}

function checkSignature({ attest, signature, key }: QuoteInput): void {
  const parsed = parseSignature(signature);
  const fits = parsed.scheme.name === key.scheme.name && parsed.scheme.hash === key.scheme.hash;
  if (!fits || !isSignedBy(parsed, key.key, attest)) {
    throw new LacreError('tpm.quote.signature', 'the quote is not signed by the attestation key of this node', {
      akName: key.nameHex,
      scheme: `${parsed.scheme.name}-${parsed.scheme.hash}`,
    });
  }
}

function checkSelection(attest: Attest, pcrs: readonly number[]): void {
  const { selection, pcrDigest } = attest.quote;
  const [bank, ...others] = selection;
  const exact = bank?.hash === ALG.SHA256 && others.length === 0 && bank.pcrs.join() === pcrs.join();
  if (exact && pcrDigest.length === 32) return;
  throw new LacreError('tpm.quote.selection', 'the quote does not cover exactly the PCRs asked for, by SHA-256', {
    expected: pcrs.join(),
    seen: selection.map(describeBank).join(' '),
  });
}

function describeBank({ hash, pcrs }: PcrSelection): string {
  return `0x${hash.toString(16)}:${pcrs.join()}`;
}

function at(values: ReadonlyMap<number, Uint8Array> | readonly Uint8Array[], index: number): Uint8Array | undefined {
  return Array.isArray(values) ? values[index] : undefined;
}
