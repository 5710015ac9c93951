import { sha256 } from '../bytes/sha256.ts';
import { OID } from '../identity/certificate-fields.ts';
import { ascii, DerReader, der, derBitString, derOid, derSequence, TAG } from '../identity/der.ts';

const TRUE = der(TAG.boolean, Uint8Array.of(0xff));
const KEY_CERT_SIGN_AND_CRL_SIGN = derBitString(Uint8Array.of(0x06), 1);
const DIGITAL_SIGNATURE = derBitString(Uint8Array.of(0x80), 7);
/** GeneralName tags (RFC 5280, 4.2.1.6). */
const DNS_NAME = 0x82;
const URI_NAME = 0x86;

/** Of the extensions that each certificate has in another form. */
const SUBJECT_ALT_NAME = derOid(OID.subjectAltName);
const SUBJECT_KEY_IDENTIFIER = derOid(OID.subjectKeyIdentifier);

/** @param oid DER */
function extension(oid: Uint8Array, critical: boolean, value: Uint8Array): Uint8Array {
  const contents = der(TAG.octetString, value);
  return critical ? derSequence(oid, TRUE, contents) : derSequence(oid, contents);
}

/** RFC 5280, 4.2.1.9: no path length below, so this authority signs leaves only. */
export const AUTHORITY_CONSTRAINTS = extension(
  derOid(OID.basicConstraints),
  true,
  derSequence(TRUE, der(TAG.integer, Uint8Array.of(0))),
);
/** cA left at its default, false. */
export const LEAF_CONSTRAINTS = extension(derOid(OID.basicConstraints), true, derSequence());
/** X509-SVID 4.3, signing certificates. */
export const AUTHORITY_KEY_USAGE = extension(derOid(OID.keyUsage), true, KEY_CERT_SIGN_AND_CRL_SIGN);
/** X509-SVID 4.3, leaves: digitalSignature alone; the other two are for RSA key exchange, which TLS 1.3 has not. */
export const LEAF_KEY_USAGE = extension(derOid(OID.keyUsage), true, DIGITAL_SIGNATURE);
/** X509-SVID 4.4: both. */
export const LEAF_EXTENDED_KEY_USAGE = extension(
  derOid(OID.extendedKeyUsage),
  false,
  derSequence(derOid(OID.serverAuth), derOid(OID.clientAuth)),
);

/** X509-SVID 2: the one URI, then DNS names. Critical where the subject is empty (RFC 5280, 4.1.2.6). */
export function alternativeNames(uri: string, dnsNames: readonly string[], critical: boolean): Uint8Array {
  const names = [der(URI_NAME, ascii(uri)), ...dnsNames.map((name) => der(DNS_NAME, ascii(name)))];
  return extension(SUBJECT_ALT_NAME, critical, derSequence(...names));
}

export function subjectKeyIdentifier(keyId: Uint8Array): Uint8Array {
  return extension(SUBJECT_KEY_IDENTIFIER, false, der(TAG.octetString, keyId));
}

export function authorityKeyIdentifier(keyId: Uint8Array): Uint8Array {
  return extension(derOid(OID.authorityKeyIdentifier), false, derSequence(der(0x80, keyId)));
}

/** RFC 7093, 2, method 1: the leftmost 160 bits of SHA-256 over the key's bit string. 20 bytes. */
export function keyIdentifier(spki: Uint8Array): Uint8Array {
  const info = new DerReader(spki, 'the public key').enter(TAG.sequence);
  info.read(TAG.sequence);
  const bits = info.read(TAG.bitString).subarray(1);
  return sha256(bits).slice(0, 20);
}
