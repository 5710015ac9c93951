import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { KEY_USAGE, OID } from './certificate-fields.ts';
import { ascii, der, derBitString, derInteger, derOid, derSequence, derTime, TAG } from './der.ts';

export const NOT_BEFORE = new Date('2026-01-01T00:00:00Z');
export const NOT_AFTER = new Date('2036-01-01T00:00:00Z');
/** How a certificate is signed: the algorithm's OID, and the digest by its name in OpenSSL. */
type Signing = readonly [oid: string, digest: string];
const ECDSA_WITH_SHA256: Signing = ['1.2.840.10045.4.3.2', 'sha256'];
export const TRUE = der(TAG.boolean, Uint8Array.of(0xff));

/** Somebody with a P-256 key and a certificate over it. */
export interface Holder {
  readonly name: string;
  readonly key: KeyObject;
  /** DER. */
  readonly certificate: Uint8Array;
}

/** A certificate of any sort, signed by `issuer` or by itself: also those that no authority should make. */
export function makeCertificate(
  name: string,
  input: {
    readonly extensions?: readonly Uint8Array[];
    readonly issuer?: Holder;
    readonly notBefore?: Date;
    readonly notAfter?: Date;
    /** Private; by default a new one. */
    readonly key?: KeyObject;
    /** By default the key's own. */
    readonly spki?: Uint8Array;
    readonly signing?: Signing;
    /** Big-endian; by default 1. */
    readonly serial?: Uint8Array;
  } = {},
): Holder {
  const { issuer, extensions = [], notBefore = NOT_BEFORE, notAfter = NOT_AFTER } = input;
  const key = input.key ?? generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  const spki = input.spki ?? new Uint8Array(createPublicKey(key).export({ format: 'der', type: 'spki' }));
  const [oid, digest] = input.signing ?? ECDSA_WITH_SHA256;
  const algorithm = derSequence(derOid(oid));
  const body = derSequence(
    der(0xa0, derInteger(Uint8Array.of(2))),
    derInteger(input.serial ?? Uint8Array.of(1)),
    algorithm,
    nameOf(issuer?.name ?? name),
    derSequence(derTime(notBefore), derTime(notAfter)),
    nameOf(name),
    spki,
    ...(extensions.length === 0 ? [] : [der(0xa3, derSequence(...extensions))]),
  );
  const signature = derBitString(new Uint8Array(sign(digest, body, issuer?.key ?? key)));
  return { name, key, certificate: derSequence(body, algorithm, signature) };
}

function nameOf(text: string): Uint8Array {
  return derSequence(der(TAG.set, derSequence(derOid('2.5.4.3'), der(TAG.utf8String, ascii(text)))));
}

/** One Extension (RFC 5280, 4.1): `critical` as given, left out for false. */
export function extensionOf(oid: string, critical: boolean, value: Uint8Array): Uint8Array {
  return derSequence(derOid(oid), ...(critical ? [TRUE] : []), der(TAG.octetString, value));
}

export function uris(...names: readonly string[]): Uint8Array {
  return extensionOf(OID.subjectAltName, false, derSequence(...names.map((name) => der(0x86, ascii(name)))));
}

/** @param bits the first byte of KeyUsage. */
export function usage(bits: number): Uint8Array {
  return extensionOf(OID.keyUsage, true, derBitString(Uint8Array.of(bits)));
}

/** BasicConstraints of an authority. */
export function authority(pathLength?: number): Uint8Array {
  const length = pathLength === undefined ? [] : [derInteger(Uint8Array.of(pathLength))];
  return extensionOf(OID.basicConstraints, true, derSequence(TRUE, ...length));
}

export const SIGNS_CERTIFICATES: Uint8Array = usage(KEY_USAGE.keyCertSign);
export const SIGNS_DATA: Uint8Array = usage(KEY_USAGE.digitalSignature);
