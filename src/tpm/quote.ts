import { createHash } from 'node:crypto';
import { equalBytes } from '../bytes/equal.ts';
import { LacreError } from '../lacre-error.ts';
import { type Attest, type ClockInfo, type PcrSelection, parseQuote } from './attest.ts';
import { VerifiedAttestationKey } from './attestation-key.ts';
import { DIGEST_LENGTH, HASH_ID, type HashName, type PcrBank } from './constants.ts';
import { isSignedBy, parseSignature } from './signature.ts';

/** The PCRs that a quote must cover, of one bank, no more and no less (DESIGN section 4). */
export const QUOTED_PCRS: readonly number[] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14];

type PcrMap = ReadonlyMap<number, Uint8Array>;

const MAKE = Symbol('only verifyQuote makes one');

interface Asked {
  readonly bank: PcrBank;
  readonly pcrs: readonly number[];
}

/**
 * What a TPM signed: the digest over the PCRs of `pcrs`, at the time of `clock`, in answer to the extra data that was
 * asked for. Which values the PCRs had is proven by `explains`; that the key is a TPM's by credential activation.
 */
export class VerifiedQuote {
  readonly #brand = true;
  /** Digest over the values of `pcrs`, in their order, by `pcrDigestHash`. */
  readonly pcrDigest: Uint8Array;
  /** Hash of the key's scheme: TPM2_Quote takes it for `pcrDigest` too. */
  readonly pcrDigestHash: HashName;
  /** Bank of the PCRs: each value has as many bytes as its digest. */
  readonly bank: PcrBank;
  readonly pcrs: readonly number[];
  readonly clock: ClockInfo;
  readonly firmwareVersion: bigint;
  readonly qualifiedSigner: Uint8Array;
  readonly keyNameHex: string;

  constructor(token: typeof MAKE, attest: Attest, asked: Asked, key: VerifiedAttestationKey) {
    if (token !== MAKE) throw new TypeError('use verifyQuote');
    this.pcrDigest = attest.quote.pcrDigest;
    this.pcrDigestHash = key.scheme.hash;
    this.bank = asked.bank;
    this.pcrs = asked.pcrs;
    this.clock = attest.clock;
    this.firmwareVersion = attest.firmwareVersion;
    this.qualifiedSigner = attest.qualifiedSigner;
    this.keyNameHex = key.nameHex;
  }

  static isVerified(value: object): value is VerifiedQuote {
    return #brand in value;
  }

  /**
   * Whether these are the values that the PCRs had: the digest over them equals the signed one. Each is as long as the
   * bank's digests; a map is by PCR number, an array in the order of `pcrs`. False where one is missing.
   */
  explains(values: ReadonlyMap<number, Uint8Array> | readonly Uint8Array[]): boolean {
    const ordered = Array.isArray(values) ? values : this.pcrs.map((pcr) => (values as PcrMap).get(pcr));
    const digest = createHash(this.pcrDigestHash);
    for (const value of ordered) {
      if (value?.length !== DIGEST_LENGTH[this.bank]) return false;
      digest.update(value);
    }
    return equalBytes(digest.digest(), this.pcrDigest);
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
  /** Bank that they must be of: the node's. SHA-256 where it is left out. */
  readonly bank?: PcrBank;
}

/**
 * Verifies a TPM2_Quote (Part 3, 18.4): the signature is by `key` in the key's own scheme, over a TPM-made structure that
 * holds `extraData` and a digest, by the scheme's hash, of exactly `pcrs` of `bank`.
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
  const asked: Asked = { bank: input.bank ?? 'sha256', pcrs: input.pcrs ?? QUOTED_PCRS };
  checkSelection(attest, asked, input.key.scheme.hash);
  return new VerifiedQuote(MAKE, attest, asked, input.key);
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

function checkSelection(attest: Attest, asked: Asked, digestHash: HashName): void {
  const { selection, pcrDigest } = attest.quote;
  const [bank, ...others] = selection;
  const exact = bank?.hash === HASH_ID[asked.bank] && others.length === 0 && bank.pcrs.join() === asked.pcrs.join();
  if (exact && pcrDigest.length === DIGEST_LENGTH[digestHash]) return;
  const sentence = `the quote does not cover exactly the PCRs asked for, of the bank ${asked.bank} alone`;
  throw new LacreError('tpm.quote.selection', sentence, {
    expected: `${asked.bank}:${asked.pcrs.join()}`,
    seen: selection.map(describeBank).join(' '),
  });
}

function describeBank({ hash, pcrs }: PcrSelection): string {
  return `0x${hash.toString(16)}:${pcrs.join()}`;
}
