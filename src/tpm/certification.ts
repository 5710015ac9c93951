import { equalBytes } from '../bytes/equal.ts';
import { toHex } from '../bytes/hex.ts';
import { LacreError } from '../lacre-error.ts';
import { parseCertification } from './attest.ts';
import { attributeFaults, VerifiedAttestationKey } from './attestation-key.ts';
import { ATTRIBUTE } from './constants.ts';
import { objectName, type PublicArea } from './public-area.ts';
import { isSignedBy, parseSignature } from './signature.ts';

const MAKE = Symbol('only verifyCertification makes one');

/** A signing key of which an attestation key said that the same TPM holds it, and that it never leaves. */
export class CertifiedKey {
  readonly #brand = true;
  readonly area: PublicArea;
  readonly nameHex: string;

  constructor(token: typeof MAKE, area: PublicArea, nameHex: string) {
    if (token !== MAKE) throw new TypeError('use verifyCertification');
    this.area = area;
    this.nameHex = nameHex;
  }

  static isVerified(value: object): value is CertifiedKey {
    return #brand in value;
  }
}

/** Input of verifyCertification; all but `ak` and `extraData` is hostile. */
export interface CertificationInput {
  /** TPMS_ATTEST. */
  readonly attest: Uint8Array;
  /** TPMT_SIGNATURE. */
  readonly signature: Uint8Array;
  readonly ak: VerifiedAttestationKey;
  /** The key that is certified. */
  readonly key: PublicArea;
  /** What the TPM was asked to sign along. */
  readonly extraData: Uint8Array;
}

const REQUIRED = {
  sign: ATTRIBUTE.SIGN,
  fixedTPM: ATTRIBUTE.FIXED_TPM,
  fixedParent: ATTRIBUTE.FIXED_PARENT,
  sensitiveDataOrigin: ATTRIBUTE.SENSITIVE_DATA_ORIGIN,
} as const;
/** A restricted key signs no TLS handshake, and one that decrypts is no signing key. */
const FORBIDDEN = {
  restricted: ATTRIBUTE.RESTRICTED,
  decrypt: ATTRIBUTE.DECRYPT,
  encryptedDuplication: ATTRIBUTE.ENCRYPTED_DUPLICATION,
} as const;

/**
 * Verifies a TPM2_Certify (Part 3, 18.2): the TPM of `ak` holds the private half of `key`, made it, and never gives it
 * away. What the TPM signs is the key's Name, so its attributes too.
 *
 * Throws tpm.malformed, tpm.unsupported, tpm.quote.type, tpm.quote.signature, tpm.quote.extra-data, tpm.certify.name,
 * tpm.certify.attributes.
 */
export function verifyCertification(input: CertificationInput): CertifiedKey {
  const { ak, key } = input;
  if (!VerifiedAttestationKey.isVerified(ak)) throw new TypeError('the attestation key was not verified');
  const signature = parseSignature(input.signature);
  const fits = signature.scheme.name === ak.scheme.name && signature.scheme.hash === ak.scheme.hash;
  if (!fits || !isSignedBy(signature, ak.key, input.attest)) {
    throw new LacreError('tpm.quote.signature', 'the certification is not signed by the attestation key of this node');
  }
  const { extraData, name } = parseCertification(input.attest);
  if (!equalBytes(extraData, input.extraData)) {
    throw new LacreError('tpm.quote.extra-data', 'the certification answers another nonce, request or connection');
  }
  if (!equalBytes(name, objectName(key))) {
    throw new LacreError('tpm.certify.name', 'the TPM certified another key', { name: toHex(name) });
  }
  const faults = attributeFaults(key.attributes, REQUIRED, FORBIDDEN).join(', ');
  if (faults !== '') {
    throw new LacreError('tpm.certify.attributes', `the certified key does not fit: ${faults}`, { faults });
  }
  return new CertifiedKey(MAKE, key, toHex(name));
}
