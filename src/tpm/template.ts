import { ByteWriter } from '../bytes/byte-writer.ts';
import { fromHex } from '../bytes/hex.ts';
import { ALG, ATTRIBUTE, CURVE, HASH_ID, type HashName } from './constants.ts';

/** A template of the TCG EK Credential Profile 2.6, annex B, and where its certificate lies. */
export interface EkTemplate {
  /** As the profile names it. */
  readonly name: string;
  /** NV index of the EK certificate. */
  readonly certificateIndex: number;
  /** TPMT_PUBLIC to give to TPM2_CreatePrimary in the endorsement hierarchy. */
  readonly public: Uint8Array;
  /** False: only a policy (PolicySecret of the endorsement hierarchy) opens it. True: an empty password as well. */
  readonly userWithAuth: boolean;
}

const EK_ATTRIBUTES =
  ATTRIBUTE.FIXED_TPM |
  ATTRIBUTE.FIXED_PARENT |
  ATTRIBUTE.SENSITIVE_DATA_ORIGIN |
  ATTRIBUTE.ADMIN_WITH_POLICY |
  ATTRIBUTE.RESTRICTED |
  ATTRIBUTE.DECRYPT;
const AK_ATTRIBUTES =
  ATTRIBUTE.FIXED_TPM |
  ATTRIBUTE.FIXED_PARENT |
  ATTRIBUTE.SENSITIVE_DATA_ORIGIN |
  ATTRIBUTE.USER_WITH_AUTH |
  ATTRIBUTE.RESTRICTED |
  ATTRIBUTE.SIGN;

/** Policy digests of the profile: A is PolicySecret(endorsement); B that or one in NV. */
const POLICY_A_SHA256 = '837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa';
const POLICY_B = {
  sha256: 'ca3d0a99a2b93906f7a3342414efcfb3a385d44cd1fd459089d19b5071c0b7a0',
  sha384: 'b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419cacb47ba09699646150f9fc000f3f80e12',
  sha512:
    'b8221ca69e8550a4914de3faa6a18c072cc01208073a928d5d66d59ef79e49a429c41a6b269571d57edb25fbdb1838425608b413cd616a5f6db5b6071af99bea',
} as const;

interface EkShape {
  readonly hash: HashName;
  readonly cipherBits: number;
  readonly policyHex: string;
  readonly userWithAuth: boolean;
  /** Low-range templates carry a field of zeros as unique, high-range ones nothing. */
  readonly uniqueBytes: number;
}

const LOW = { hash: 'sha256', cipherBits: 128, policyHex: POLICY_A_SHA256, userWithAuth: false } as const;

/** Templates in the order in which a client looks for a certificate. */
export const EK_TEMPLATES: readonly EkTemplate[] = [
  rsa('L-1', 0x01c00002, 2048, { ...LOW, uniqueBytes: 256 }),
  ecc('L-2', 0x01c0000a, CURVE.P256, { ...LOW, uniqueBytes: 32 }),
  rsa('H-1', 0x01c00012, 2048, high('sha256', 128)),
  ecc('H-2', 0x01c00014, CURVE.P256, high('sha256', 128)),
  ecc('H-3', 0x01c00016, CURVE.P384, high('sha384', 256)),
  ecc('H-4', 0x01c00018, CURVE.P521, high('sha512', 256)),
  rsa('H-6', 0x01c0001c, 3072, high('sha384', 256)),
  rsa('H-7', 0x01c0001e, 4096, high('sha384', 256)),
];

/** NV indices that hold certificates of an EK's issuers (profile, 2.2.1.5.2). */
export const EK_CHAIN_INDICES = { first: 0x01c00100, last: 0x01c001ff } as const;

/** Attestation keys that Lacre makes, by signature scheme and key. */
export type AkAlgorithm =
  | 'ecdsa-p256'
  | 'ecdsa-p384'
  | 'ecdsa-p521'
  | 'rsassa-2048'
  | 'rsassa-3072'
  | 'rsassa-4096'
  | 'rsapss-2048'
  | 'rsapss-3072'
  | 'rsapss-4096';

interface AkShape {
  readonly scheme: number;
  /** Of the signature, and so of the digest over the PCRs (Part 3, 18.4). As strong as the key. */
  readonly hash: HashName;
  /** TPM_ECC_CURVE, or bits of an RSA modulus. */
  readonly size: number;
}

const AK_SHAPES: Readonly<Record<AkAlgorithm, AkShape>> = {
  'ecdsa-p256': { scheme: ALG.ECDSA, hash: 'sha256', size: CURVE.P256 },
  'ecdsa-p384': { scheme: ALG.ECDSA, hash: 'sha384', size: CURVE.P384 },
  'ecdsa-p521': { scheme: ALG.ECDSA, hash: 'sha512', size: CURVE.P521 },
  'rsassa-2048': { scheme: ALG.RSASSA, hash: 'sha256', size: 2048 },
  'rsassa-3072': { scheme: ALG.RSASSA, hash: 'sha384', size: 3072 },
  'rsassa-4096': { scheme: ALG.RSASSA, hash: 'sha384', size: 4096 },
  'rsapss-2048': { scheme: ALG.RSAPSS, hash: 'sha256', size: 2048 },
  'rsapss-3072': { scheme: ALG.RSAPSS, hash: 'sha384', size: 3072 },
  'rsapss-4096': { scheme: ALG.RSAPSS, hash: 'sha384', size: 4096 },
};

export const AK_ALGORITHMS: readonly AkAlgorithm[] = [
  'ecdsa-p256',
  'ecdsa-p384',
  'ecdsa-p521',
  'rsassa-2048',
  'rsassa-3072',
  'rsassa-4096',
  'rsapss-2048',
  'rsapss-3072',
  'rsapss-4096',
];

/**
 * TPMT_PUBLIC to give to TPM2_Create for an attestation key: restricted, with a signature scheme of its own.
 *
 * @param hash of the scheme, where the TPM has not the one that fits the key
 */
export function attestationKeyTemplate(algorithm: AkAlgorithm, hash?: HashName): Uint8Array {
  const shape = AK_SHAPES[algorithm];
  const isEcc = shape.scheme === ALG.ECDSA;
  const writer = header(isEcc ? ALG.ECC : ALG.RSA, 'sha256', AK_ATTRIBUTES, '')
    .u16(ALG.NULL)
    .u16(shape.scheme)
    .u16(HASH_ID[hash ?? shape.hash])
    .u16(shape.size);
  return isEcc ? writer.u16(ALG.NULL).u16(0).u16(0).finish() : writer.u32(0).u16(0).finish();
}

/** Signing key on P-256 that signs what it is given, by ECDSA with SHA-256: to be certified by an attestation key. */
export const SIGNING_KEY_TEMPLATE: Uint8Array = header(ALG.ECC, 'sha256', AK_ATTRIBUTES & ~ATTRIBUTE.RESTRICTED, '')
  .u16(ALG.NULL)
  .u16(ALG.ECDSA)
  .u16(ALG.SHA256)
  .u16(CURVE.P256)
  .u16(ALG.NULL)
  .u16(0)
  .u16(0)
  .finish();

function high(hash: HashName, cipherBits: number): EkShape {
  return { hash, cipherBits, policyHex: POLICY_B[hash], userWithAuth: true, uniqueBytes: 0 };
}

function rsa(name: string, certificateIndex: number, keyBits: number, shape: EkShape): EkTemplate {
  const writer = storageHeader(ALG.RSA, shape).u16(keyBits).u32(0).sized16(new Uint8Array(shape.uniqueBytes));
  return { name, certificateIndex, public: writer.finish(), userWithAuth: shape.userWithAuth };
}

function ecc(name: string, certificateIndex: number, curve: number, shape: EkShape): EkTemplate {
  const zeros = new Uint8Array(shape.uniqueBytes);
  const writer = storageHeader(ALG.ECC, shape).u16(curve).u16(ALG.NULL).sized16(zeros).sized16(zeros);
  return { name, certificateIndex, public: writer.finish(), userWithAuth: shape.userWithAuth };
}

function storageHeader(type: number, shape: EkShape): ByteWriter {
  const attributes = EK_ATTRIBUTES | (shape.userWithAuth ? ATTRIBUTE.USER_WITH_AUTH : 0);
  return header(type, shape.hash, attributes, shape.policyHex)
    .u16(ALG.AES)
    .u16(shape.cipherBits)
    .u16(ALG.CFB)
    .u16(ALG.NULL);
}

/** TPMT_PUBLIC up to its parameters. */
function header(type: number, nameAlg: HashName, attributes: number, policyHex: string): ByteWriter {
  return new ByteWriter().u16(type).u16(HASH_ID[nameAlg]).u32(attributes).sized16(fromHex(policyHex));
}
