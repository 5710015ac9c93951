import { constants, type KeyObject, verify } from 'node:crypto';
import { at } from '../bytes/at.ts';
import { ALG, type HashName, hashOf } from './constants.ts';
import type { SigningScheme } from './public-area.ts';
import { leftPad, namedCurve } from './public-key.ts';
import { malformed, readStructure, unsupported } from './structure.ts';

/** TPMT_SIGNATURE, Part 2, 11.3.4: parsed, not verified. */
export interface Signature {
  readonly scheme: SigningScheme;
  /** RSA: the signature, big-endian. ECDSA: r, then s, as the TPM wrote them. */
  readonly parts: readonly Uint8Array[];
}

const WHAT = 'TPMT_SIGNATURE';
const MAX_BYTES = 1024;
const MAX_RSA_BYTES = 512;
const MAX_COORDINATE_BYTES = 66;

/** Parses an RSASSA, RSAPSS or ECDSA signature. Throws tpm.malformed, tpm.unsupported. */
export function parseSignature(bytes: Uint8Array): Signature {
  return readStructure(bytes, WHAT, MAX_BYTES, (reader) => {
    const algorithm = reader.u16();
    const hashId = reader.u16();
    const hash = hashOf(hashId);
    if (hash === undefined) throw unsupported(WHAT, 'hash', hashId);
    if (algorithm === ALG.RSASSA || algorithm === ALG.RSAPSS) {
      const name = algorithm === ALG.RSASSA ? 'rsassa' : 'rsapss';
      return { scheme: { name, hash }, parts: [reader.sized16(MAX_RSA_BYTES)] };
    }
    if (algorithm !== ALG.ECDSA) throw unsupported(WHAT, 'scheme', algorithm);
    const r = reader.sized16(MAX_COORDINATE_BYTES);
    const s = reader.sized16(MAX_COORDINATE_BYTES);
    return { scheme: { name: 'ecdsa', hash }, parts: [r, s] };
  });
}

/**
 * Whether `signature` is by `key` over `message`. The caller holds the scheme against that of the key.
 *
 * Throws tpm.malformed where r or s is longer than the curve's order.
 */
export function isSignedBy(signature: Signature, key: KeyObject, message: Uint8Array): boolean {
  const { name, hash } = signature.scheme;
  if (name === 'ecdsa') return verifyEcdsa(signature, key, message, hash);
  if (key.asymmetricKeyType !== 'rsa') return false;
  const padding = name === 'rsassa' ? constants.RSA_PKCS1_PADDING : constants.RSA_PKCS1_PSS_PADDING;
  // RSAPSS alone has a salt. TPMs differ in its length (Part 1, B.7): as long as the digest, or as long as fits.
  const saltLength = constants.RSA_PSS_SALTLEN_AUTO;
  return verify(hash, message, { key, padding, saltLength }, first(signature));
}

function verifyEcdsa(signature: Signature, key: KeyObject, message: Uint8Array, hash: HashName): boolean {
  const bytes = CURVE_BYTES.get(`${{ ...key.asymmetricKeyDetails }.namedCurve}`);
  if (bytes === undefined) return false;
  if (signature.parts.some((part) => part.length > bytes)) throw malformed(WHAT, 'it is longer than the key');
  const joined = Buffer.concat(signature.parts.map((part) => leftPad(part, bytes)));
  return verify(hash, message, { key, dsaEncoding: 'ieee-p1363' }, joined);
}

function first(signature: Signature): Uint8Array {
  return at(signature.parts, 0);
}

const CURVE_BYTES: ReadonlyMap<string, number> = new Map(
  (['P-256', 'P-384', 'P-521'] as const).map(namedCurve).map((curve) => [curve.ecdhName, curve.coordinateBytes]),
);
