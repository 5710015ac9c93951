import { createHash, type KeyObject } from 'node:crypto';
import type { ByteReader } from '../bytes/byte-reader.ts';
import { ByteWriter } from '../bytes/byte-writer.ts';
import { ALG, DIGEST_LENGTH, HASH_ID, type HashName, hashOf } from './constants.ts';
import { type CurveName, curveOf, eccPublicKey, rsaPublicKey, spkiOf } from './public-key.ts';
import { malformed, readStructure, unsupported } from './structure.ts';

/** How a signing key signs (TPMT_RSA_SCHEME, TPMT_ECC_SCHEME). */
export interface SigningScheme {
  readonly name: 'rsassa' | 'rsapss' | 'ecdsa';
  readonly hash: HashName;
}

/** The cipher by which a storage key protects its children and credentials: AES in CFB mode. */
export interface StorageCipher {
  readonly name: 'aes';
  readonly keyBits: 128 | 192 | 256;
}

/** TPMT_PUBLIC (Part 2, 12.2.4) of an asymmetric key: well-formed, and its key is one; nothing else is proven. */
export interface PublicArea {
  /** The TPMT_PUBLIC as it came, without a size. */
  readonly bytes: Uint8Array;
  readonly algorithm: 'rsa' | 'ecc';
  readonly nameAlg: HashName;
  /** TPMA_OBJECT. */
  readonly attributes: number;
  /** Empty, or a digest of nameAlg. */
  readonly authPolicy: Uint8Array;
  readonly symmetric: StorageCipher | undefined;
  readonly scheme: SigningScheme | undefined;
  readonly curve: CurveName | undefined;
  /** RSA modulus in bits; undefined for ECC. */
  readonly modulusBits: number | undefined;
  readonly key: KeyObject;
  /** SubjectPublicKeyInfo, DER, in the one form that Lacre hashes (rsaEncryption, named curve, uncompressed point). */
  readonly spki: Uint8Array;
}

const WHAT = 'TPMT_PUBLIC';
const MAX_BYTES = 1024;
const AES_KEY_BITS = [128, 192, 256] as const;
/** TPMA_OBJECT bits that the Library defines. */
const KNOWN_ATTRIBUTES = 0x000f0cf6;
const SIGNING_SCHEMES: ReadonlyMap<number, SigningScheme['name']> = new Map([
  [ALG.RSASSA, 'rsassa'],
  [ALG.RSAPSS, 'rsapss'],
  [ALG.ECDSA, 'ecdsa'],
]);

/**
 * Parses a TPMT_PUBLIC of an RSA (2048, 3072, 4096) or ECC (P-256, P-384, P-521) key. On return the key is well-formed
 * (a point lies on its curve); that a TPM holds it is only claimed.
 *
 * Throws tpm.malformed, tpm.unsupported.
 */
export function parsePublicArea(bytes: Uint8Array): PublicArea {
  return readStructure(bytes, WHAT, MAX_BYTES, (reader) => {
    const type = reader.u16();
    const nameAlg = readHash(reader);
    const attributes = reader.u32();
    if ((attributes & ~KNOWN_ATTRIBUTES) !== 0) throw malformed(WHAT, 'reserved attribute bits are set');
    const authPolicy = reader.sized16(DIGEST_LENGTH[nameAlg]);
    if (authPolicy.length !== 0 && authPolicy.length !== DIGEST_LENGTH[nameAlg]) {
      throw malformed(WHAT, 'its policy is no digest of its name algorithm');
    }
    const common = { bytes: bytes.slice(), nameAlg, attributes, authPolicy: authPolicy.slice() };
    if (type === ALG.RSA) return { ...common, algorithm: 'rsa', ...readRsa(reader) };
    if (type === ALG.ECC) return { ...common, algorithm: 'ecc', ...readEcc(reader) };
    throw unsupported(WHAT, 'key type', type);
  });
}

/** Parses a TPM2B_PUBLIC: a size, then the TPMT_PUBLIC. Throws as parsePublicArea. */
export function parseSizedPublicArea(bytes: Uint8Array): PublicArea {
  return parsePublicArea(readStructure(bytes, 'TPM2B_PUBLIC', MAX_BYTES + 2, (reader) => reader.sized16(MAX_BYTES)));
}

/** Name of an object (Part 1, 16): nameAlg as two bytes, big-endian, then the digest of its public area. */
export function objectName(area: PublicArea): Uint8Array {
  const digest = createHash(area.nameAlg).update(area.bytes).digest();
  return new ByteWriter().u16(HASH_ID[area.nameAlg]).bytes(digest).finish();
}

type KeyPart = Pick<PublicArea, 'symmetric' | 'scheme' | 'curve' | 'modulusBits' | 'key' | 'spki'>;

/** TPMS_RSA_PARMS and TPM2B_PUBLIC_KEY_RSA, Part 2, 12.2.3.5 and 11.2.4.5. */
function readRsa(reader: ByteReader): KeyPart {
  const symmetric = readCipher(reader);
  const scheme = readScheme(reader, ['rsassa', 'rsapss']);
  const modulusBits = reader.u16();
  if (![2048, 3072, 4096].includes(modulusBits)) throw unsupported(WHAT, 'RSA key size', modulusBits);
  const exponent = reader.u32();
  if (exponent !== 0 && exponent !== 65537) throw unsupported(WHAT, 'RSA exponent', exponent);
  const modulus = reader.sized16(MAX_BYTES);
  if (modulus.length !== modulusBits / 8) throw malformed(WHAT, 'the RSA modulus is not as long as its key size');
  const key = rsaPublicKey(modulus);
  return { symmetric, scheme, curve: undefined, modulusBits, key, spki: spkiOf(key) };
}

/** TPMS_ECC_PARMS and TPMS_ECC_POINT, Part 2, 12.2.3.6 and 11.2.5.2. */
function readEcc(reader: ByteReader): KeyPart {
  const symmetric = readCipher(reader);
  const scheme = readScheme(reader, ['ecdsa']);
  const curveId = reader.u16();
  const curve = curveOf(curveId);
  if (curve === undefined) throw unsupported(WHAT, 'curve', curveId);
  const kdf = reader.u16();
  if (kdf !== ALG.NULL) throw unsupported(WHAT, 'key derivation scheme', kdf);
  const x = reader.sized16(curve.coordinateBytes);
  const y = reader.sized16(curve.coordinateBytes);
  const key = eccPublicKey(curve, x, y);
  return { symmetric, scheme, curve: curve.name, modulusBits: undefined, key, spki: spkiOf(key) };
}

function readHash(reader: ByteReader): HashName {
  const algorithm = reader.u16();
  const hash = hashOf(algorithm);
  if (hash === undefined) throw unsupported(WHAT, 'hash', algorithm);
  return hash;
}

/** TPMT_SYM_DEF_OBJECT, Part 2, 11.1.7. */
function readCipher(reader: ByteReader): StorageCipher | undefined {
  const algorithm = reader.u16();
  if (algorithm === ALG.NULL) return undefined;
  if (algorithm !== ALG.AES) throw unsupported(WHAT, 'cipher', algorithm);
  const keyBits = reader.u16();
  const mode = reader.u16();
  if (mode !== ALG.CFB) throw unsupported(WHAT, 'cipher mode', mode);
  const known = AES_KEY_BITS.find((bits) => bits === keyBits);
  if (known === undefined) throw unsupported(WHAT, 'AES key size', keyBits);
  return { name: 'aes', keyBits: known };
}

/** TPMT_RSA_SCHEME and TPMT_ECC_SCHEME, Part 2, 11.2.4.2 and 11.2.5.6. */
function readScheme(reader: ByteReader, allowed: readonly SigningScheme['name'][]): SigningScheme | undefined {
  const algorithm = reader.u16();
  if (algorithm === ALG.NULL) return undefined;
  const name = SIGNING_SCHEMES.get(algorithm);
  if (name === undefined || !allowed.includes(name)) throw unsupported(WHAT, 'scheme', algorithm);
  return { name, hash: readHash(reader) };
}
