import { createPublicKey, type KeyObject } from 'node:crypto';
import { at } from '../bytes/at.ts';
import { CURVE } from './constants.ts';
import { malformed } from './structure.ts';

/** Curve names as node:crypto knows them. */
export type CurveName = 'P-256' | 'P-384' | 'P-521';

/** One of the curves that Lacre accepts. */
export interface Curve {
  readonly id: number;
  readonly name: CurveName;
  /** OpenSSL's name, as createECDH wants it. */
  readonly ecdhName: string;
  readonly coordinateBytes: number;
}

const CURVES: Readonly<Record<CurveName, Curve>> = {
  'P-256': { id: CURVE.P256, name: 'P-256', ecdhName: 'prime256v1', coordinateBytes: 32 },
  'P-384': { id: CURVE.P384, name: 'P-384', ecdhName: 'secp384r1', coordinateBytes: 48 },
  'P-521': { id: CURVE.P521, name: 'P-521', ecdhName: 'secp521r1', coordinateBytes: 66 },
};

/** The curve of a TPM_ECC_CURVE. */
export function curveOf(id: number): Curve | undefined {
  return Object.values(CURVES).find((curve) => curve.id === id);
}

export function namedCurve(name: CurveName): Curve {
  return CURVES[name];
}

/** `bytes` with zeros before them up to `length`: TPMs may drop leading zeros of a coordinate. */
export function leftPad(bytes: Uint8Array, length: number): Uint8Array {
  const padded = new Uint8Array(length);
  padded.set(bytes, length - bytes.length);
  return padded;
}

/** An RSA key of a big-endian modulus and the exponent 65537. Throws tpm.malformed for an even or short modulus. */
export function rsaPublicKey(modulus: Uint8Array): KeyObject {
  if (at(modulus, 0) < 0x80 || at(modulus, modulus.length - 1) % 2 === 0)
    throw malformed('RSA key', 'its modulus is not one');
  return importKey('RSA key', { kty: 'RSA', n: base64url(modulus), e: 'AQAB' });
}

/** A key of big-endian coordinates. Throws tpm.malformed where the point is not on the curve. */
export function eccPublicKey(curve: Curve, x: Uint8Array, y: Uint8Array): KeyObject {
  const coordinate = (bytes: Uint8Array) => base64url(leftPad(bytes, curve.coordinateBytes));
  return importKey('ECC key', { kty: 'EC', crv: curve.name, x: coordinate(x), y: coordinate(y) });
}

/** SubjectPublicKeyInfo (RFC 5280, 4.1) of a key, DER. */
export function spkiOf(key: KeyObject): Uint8Array {
  return new Uint8Array(key.export({ type: 'spki', format: 'der' }));
}

function importKey(what: string, jwk: Record<string, string>): KeyObject {
  try {
    return createPublicKey({ key: jwk, format: 'jwk' });
  } catch {
    throw malformed(what, 'it is not a key: no such point, or no such modulus');
  }
}

function base64url(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64url');
}
