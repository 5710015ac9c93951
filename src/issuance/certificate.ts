import { type KeyObject, sign } from 'node:crypto';
import { der, derBitString, derInteger, derOid, derSequence, derTime, TAG } from '../identity/der.ts';

/** ecdsa-with-SHA256 (RFC 5758, 3.2): no parameters. */
const ECDSA_WITH_SHA256 = derSequence(derOid('1.2.840.10045.4.3.2'));
const VERSION_3 = der(0xa0, der(TAG.integer, Uint8Array.of(2)));
const COMMON_NAME = derOid('2.5.4.3');
const ORGANIZATION = derOid('2.5.4.10');

export interface CertificateBody {
  /** Big-endian, 1 to 20 bytes, not zero. */
  readonly serial: Uint8Array;
  /** Name, DER. */
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Uint8Array;
  /** Extension, DER, each. */
  readonly extensions: readonly Uint8Array[];
}

/** Encodes a certificate (RFC 5280, 4.1) and signs it with a P-256 key. DER. */
export function signCertificate(body: CertificateBody, key: KeyObject): Uint8Array {
  const signed = derSequence(
    VERSION_3,
    derInteger(body.serial),
    ECDSA_WITH_SHA256,
    body.issuer,
    derSequence(derTime(body.notBefore), derTime(body.notAfter)),
    body.subject,
    body.publicKey,
    der(0xa3, derSequence(...body.extensions)),
  );
  return derSequence(signed, ECDSA_WITH_SHA256, derBitString(new Uint8Array(sign('sha256', signed, key))));
}

/** The empty Name: an SVID's name is its URI. */
export const EMPTY_NAME = derSequence();

/** A Name of organization and common name, in UTF-8. */
export function distinguishedName(organization: string, commonName: string): Uint8Array {
  const attribute = (oid: Uint8Array, text: string): Uint8Array =>
    der(TAG.set, derSequence(oid, der(TAG.utf8String, new Uint8Array(Buffer.from(text, 'utf8')))));
  return derSequence(attribute(ORGANIZATION, organization), attribute(COMMON_NAME, commonName));
}
