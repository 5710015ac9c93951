import { toHex } from '../bytes/hex.ts';
import { LacreError } from '../lacre-error.ts';
import { DerReader, oidText, TAG } from './der.ts';

export const OID = {
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
} as const;

/** Bits of KeyUsage (RFC 5280, 4.2.1.3), as the first byte of the bit string holds them. */
export const KEY_USAGE = { digitalSignature: 0x80, keyCertSign: 0x04, cRLSign: 0x02 } as const;

const MAX_BYTES = 16 * 1024;
const MAX_EXTENSIONS = 32;
/** GeneralName [6] IA5String (RFC 5280, 4.2.1.6). */
const URI_NAME = 0x86;

/** Fields of a certificate that X.509-SVID decides on. Well-formed; that anybody signed them is not proven. */
export interface CertificateFields {
  readonly serialHex: string;
  /** Dotted; the one inside the signed part and the one beside the signature are the same. */
  readonly signatureAlgorithm: string;
  readonly emptySubject: boolean;
  readonly criticalNames: boolean;
  /** Every URI of the subject's alternative names. */
  readonly uris: readonly string[];
  /** Absent: undefined. */
  readonly isCa: boolean | undefined;
  readonly pathLength: number | undefined;
  /** First byte of the bit string; absent: undefined. */
  readonly keyUsage: number | undefined;
  readonly criticalKeyUsage: boolean;
  /** Dotted; absent: undefined. */
  readonly extendedKeyUsage: readonly string[] | undefined;
  /** Critical extensions that are none of these. */
  readonly unknownCritical: readonly string[];
}

/**
 * Reads a certificate (RFC 5280, 4.1) as strict DER, at most 16 KiB, no extension twice.
 * Codes: identity.der.malformed, identity.certificate.malformed.
 */
export function parseCertificateFields(bytes: Uint8Array): CertificateFields {
  if (bytes.length > MAX_BYTES) throw malformed(`a certificate has at most ${MAX_BYTES} bytes`);
  const outer = new DerReader(bytes, 'the certificate');
  const certificate = outer.enter(TAG.sequence);
  outer.end();
  const body = certificate.enter(TAG.sequence);
  const outerAlgorithm = toHex(certificate.readWhole(TAG.sequence));
  certificate.read(TAG.bitString);
  certificate.end();
  if (toHex(body.readOptional(0xa0) ?? new Uint8Array()) !== '020102') throw malformed('a certificate has version 3');
  const serialHex = toHex(body.read(TAG.integer));
  const algorithm = body.readWhole(TAG.sequence);
  if (toHex(algorithm) !== outerAlgorithm) throw malformed("a certificate's two signature algorithms are the same");
  body.read(TAG.sequence);
  body.read(TAG.sequence);
  const subject = body.read(TAG.sequence);
  body.read(TAG.sequence);
  body.readOptional(0x81);
  body.readOptional(0x82);
  const extensions = readExtensions(body.readOptional(0xa3));
  body.end();
  return {
    serialHex,
    signatureAlgorithm: oidText(new DerReader(algorithm, 'the certificate').enter(TAG.sequence).read(TAG.oid)),
    emptySubject: subject.length === 0,
    ...fieldsOf(extensions),
  };
}

interface Extension {
  readonly critical: boolean;
  readonly value: Uint8Array;
}

function readExtensions(contents: Uint8Array | undefined): Map<string, Extension> {
  const found = new Map<string, Extension>();
  if (contents === undefined) return found;
  const outer = new DerReader(contents, 'the certificate');
  const list = outer.enter(TAG.sequence);
  outer.end();
  while (!list.atEnd) {
    const extension = list.enter(TAG.sequence);
    const oid = oidText(extension.read(TAG.oid));
    const critical = extension.readOptional(TAG.boolean);
    const value = extension.read(TAG.octetString);
    extension.end();
    if (found.has(oid)) throw malformed(`a certificate has extension ${oid} once`);
    if (found.size >= MAX_EXTENSIONS) throw malformed(`a certificate has at most ${MAX_EXTENSIONS} extensions`);
    found.set(oid, { critical: critical !== undefined && critical[0] !== 0, value });
  }
  return found;
}

function fieldsOf(extensions: Map<string, Extension>) {
  const known: readonly string[] = [OID.subjectAltName, OID.keyUsage, OID.basicConstraints, OID.extendedKeyUsage];
  const usage = extensions.get(OID.keyUsage);
  const unknownCritical = [...extensions]
    .filter(([oid, { critical }]) => critical && !known.includes(oid))
    .map(([oid]) => oid);
  return {
    criticalNames: extensions.get(OID.subjectAltName)?.critical ?? false,
    uris: readUris(extensions.get(OID.subjectAltName)?.value),
    ...readBasicConstraints(extensions.get(OID.basicConstraints)?.value),
    keyUsage: usage === undefined ? undefined : readKeyUsage(usage.value),
    criticalKeyUsage: usage?.critical ?? false,
    extendedKeyUsage: readExtendedKeyUsage(extensions.get(OID.extendedKeyUsage)?.value),
    unknownCritical,
  };
}

function readUris(value: Uint8Array | undefined): string[] {
  if (value === undefined) return [];
  const outer = new DerReader(value, 'the subject alternative name');
  const names = outer.enter(TAG.sequence);
  outer.end();
  const uris: string[] = [];
  while (!names.atEnd) {
    const tag = names.nextTag;
    const contents = names.read(tag);
    if (tag === URI_NAME) uris.push(Buffer.from(contents).toString('latin1'));
  }
  return uris;
}

function readBasicConstraints(value: Uint8Array | undefined): {
  isCa: boolean | undefined;
  pathLength: number | undefined;
} {
  if (value === undefined) return { isCa: undefined, pathLength: undefined };
  const outer = new DerReader(value, 'the basic constraints');
  const constraints = outer.enter(TAG.sequence);
  outer.end();
  const ca = constraints.readOptional(TAG.boolean);
  const length = constraints.readOptional(TAG.integer);
  constraints.end();
  const [pathLength, ...more] = length ?? [];
  if (length !== undefined && (pathLength === undefined || more.length > 0 || pathLength > 127))
    throw malformed('a path length is from 0 to 127');
  return { isCa: ca !== undefined && ca[0] !== 0, pathLength };
}

function readKeyUsage(value: Uint8Array): number {
  const outer = new DerReader(value, 'the key usage');
  const bits = outer.read(TAG.bitString);
  outer.end();
  const [, first] = bits;
  if (first === undefined) throw malformed('a key usage sets at least one bit');
  return first;
}

function readExtendedKeyUsage(value: Uint8Array | undefined): string[] | undefined {
  if (value === undefined) return undefined;
  const outer = new DerReader(value, 'the extended key usage');
  const list = outer.enter(TAG.sequence);
  outer.end();
  const purposes: string[] = [];
  while (!list.atEnd) purposes.push(oidText(list.read(TAG.oid)));
  return purposes;
}

function malformed(sentence: string): LacreError {
  return new LacreError('identity.certificate.malformed', sentence);
}
