import type { KeyObject } from 'node:crypto';
import { toHex } from '../bytes/hex.ts';
import { LacreError } from '../lacre-error.ts';
import { ATTRIBUTE } from './constants.ts';
import { objectName, type PublicArea, type SigningScheme } from './public-area.ts';

const MAKE = Symbol('only verifyAttestationKey makes one');

/**
 * A public area whose attributes say that its private half signs only what the TPM made (restricted), and that it never
 * leaves the TPM that made it. That some TPM holds such an object is proven by credential activation on its Name, and
 * by that alone.
 */
export class VerifiedAttestationKey {
  readonly #brand = true;
  readonly area: PublicArea;
  readonly key: KeyObject;
  readonly scheme: SigningScheme;
  /** nameAlg, two bytes, and digest: 34 bytes for SHA-256. */
  readonly name: Uint8Array;
  readonly nameHex: string;

  constructor(token: typeof MAKE, area: PublicArea, scheme: SigningScheme) {
    if (token !== MAKE) throw new TypeError('use verifyAttestationKey');
    this.area = area;
    this.key = area.key;
    this.scheme = scheme;
    this.name = objectName(area);
    this.nameHex = toHex(this.name);
  }

  static isVerified(value: object): value is VerifiedAttestationKey {
    return #brand in value;
  }
}

const REQUIRED = {
  restricted: ATTRIBUTE.RESTRICTED,
  sign: ATTRIBUTE.SIGN,
  fixedTPM: ATTRIBUTE.FIXED_TPM,
  fixedParent: ATTRIBUTE.FIXED_PARENT,
  sensitiveDataOrigin: ATTRIBUTE.SENSITIVE_DATA_ORIGIN,
} as const;

const FORBIDDEN = {
  decrypt: ATTRIBUTE.DECRYPT,
  encryptedDuplication: ATTRIBUTE.ENCRYPTED_DUPLICATION,
  x509sign: ATTRIBUTE.X509_SIGN,
} as const;

/**
 * Checks that a public area describes an attestation key (Part 1, 25.1.1; Part 2, 8.3): restricted, sign, fixedTPM,
 * fixedParent, sensitiveDataOrigin; not decrypt; with a scheme of its own.
 *
 * Throws tpm.ak.attributes, which names each fault.
 */
export function verifyAttestationKey(area: PublicArea): VerifiedAttestationKey {
  const faults = [
    ...attributeFaults(area.attributes, REQUIRED, FORBIDDEN),
    ...(area.symmetric === undefined ? [] : ['it has a storage cipher']),
  ];
  const { scheme } = area;
  if (scheme === undefined || faults.length > 0) {
    const all = [...faults, ...(scheme === undefined ? ['it has no signing scheme'] : [])].join(', ');
    throw new LacreError('tpm.ak.attributes', `the attestation key does not fit: ${all}`, { faults: all });
  }
  return new VerifiedAttestationKey(MAKE, area, scheme);
}

/** What is wrong with a TPMA_OBJECT: bits of `required` that are clear, and bits of `forbidden` that are set. */
export function attributeFaults(
  attributes: number,
  required: Readonly<Record<string, number>>,
  forbidden: Readonly<Record<string, number>>,
): string[] {
  const clear = Object.entries(required).filter(([, bit]) => (attributes & bit) === 0);
  const set = Object.entries(forbidden).filter(([, bit]) => (attributes & bit) !== 0);
  return [...clear.map(([name]) => `${name} is clear`), ...set.map(([name]) => `${name} is set`)];
}
