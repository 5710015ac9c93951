import { createPublicKey, X509Certificate } from 'node:crypto';
import { AsnConvert, AsnSerializer } from '@peculiar/asn1-schema';
import {
  AlgorithmIdentifier,
  BasicConstraints,
  Certificate,
  ExtendedKeyUsage,
  type Extension,
  id_ce_basicConstraints,
  id_ce_certificatePolicies,
  id_ce_extKeyUsage,
  id_ce_keyUsage,
  id_ce_subjectAltName,
  KeyUsage,
  SubjectAlternativeName,
  SubjectPublicKeyInfo,
} from '@peculiar/asn1-x509';
import { LacreError } from '../lacre-error.ts';
import { spkiOf } from './public-key.ts';

/** What of one certificate of an endorsement chain the verifier looks at. Parsed: nothing in it is verified. */
export interface EndorsementCertificate {
  readonly x509: X509Certificate;
  readonly isCa: boolean;
  /** undefined: no bound. */
  readonly pathLength: number | undefined;
  /** Object identifiers; undefined where the extension is absent. */
  readonly extendedKeyUsage: readonly string[] | undefined;
  /** Bits of KeyUsage by name; undefined where the extension is absent. */
  readonly keyUsage: readonly string[] | undefined;
  /** Critical extensions that Lacre does not understand. */
  readonly unknownCritical: readonly string[];
  /** Attributes of the directory names of the subject alternative name, by object identifier (TPM maker, model, version). */
  readonly alternativeNames: ReadonlyMap<string, string>;
}

const MAX_BYTES = 16_384;
const UNDERSTOOD: ReadonlySet<string> = new Set([
  id_ce_basicConstraints,
  id_ce_keyUsage,
  id_ce_extKeyUsage,
  id_ce_subjectAltName,
  id_ce_certificatePolicies,
]);
const RSA_ENCRYPTION = '1.2.840.113549.1.1.1';
const RSAES_OAEP = '1.2.840.113549.1.1.7';

/** Parses one certificate of an endorsement chain, DER. Throws tpm.endorsement.certificate. */
export function parseEndorsementCertificate(der: Uint8Array): EndorsementCertificate {
  if (der.length > MAX_BYTES) throw malformedCertificate(`${der.length} bytes are over ${MAX_BYTES}`);
  try {
    const x509 = new X509Certificate(der);
    if (x509.raw.length !== der.length) throw new Error('bytes are left after the certificate');
    return { x509, ...readExtensions(AsnConvert.parse(x509.raw, Certificate)) };
  } catch (cause) {
    throw malformedCertificate((cause as Error).message, cause);
  }
}

/**
 * The key of a certificate as SubjectPublicKeyInfo in Lacre's one form. Some makers write the EK's algorithm as
 * id-RSAES-OAEP (RFC 4055), which OpenSSL does not import: it becomes rsaEncryption.
 *
 * Throws tpm.endorsement.certificate.
 */
export function certificateSpki(certificate: Uint8Array): Uint8Array {
  try {
    const info = AsnConvert.parse(certificate, Certificate).tbsCertificate.subjectPublicKeyInfo;
    const isOaep = info.algorithm.algorithm === RSAES_OAEP;
    const algorithm = isOaep ? new AlgorithmIdentifier({ algorithm: RSA_ENCRYPTION }) : info.algorithm;
    const plain = new SubjectPublicKeyInfo({ algorithm, subjectPublicKey: info.subjectPublicKey });
    const der = Buffer.from(AsnSerializer.serialize(plain));
    return spkiOf(createPublicKey({ key: der, format: 'der', type: 'spki' }));
  } catch (cause) {
    throw malformedCertificate('its public key cannot be read', cause);
  }
}

type ExtensionFacts = Omit<EndorsementCertificate, 'x509'>;

function readExtensions(certificate: Certificate): ExtensionFacts {
  const extensions: readonly Extension[] = Array.from(certificate.tbsCertificate.extensions ?? []);
  const ids = extensions.map((extension) => extension.extnID);
  if (new Set(ids).size !== ids.length) throw new Error('an extension occurs twice');
  const constraints = decode(extensions, id_ce_basicConstraints, BasicConstraints);
  const usage = decode(extensions, id_ce_keyUsage, KeyUsage);
  const extended = decode(extensions, id_ce_extKeyUsage, ExtendedKeyUsage);
  const names = decode(extensions, id_ce_subjectAltName, SubjectAlternativeName);
  return {
    isCa: constraints?.cA === true,
    pathLength: constraints?.pathLenConstraint,
    extendedKeyUsage: extended === undefined ? undefined : [...extended],
    keyUsage: usage?.toJSON(),
    unknownCritical: extensions.filter((item) => item.critical && !UNDERSTOOD.has(item.extnID)).map((i) => i.extnID),
    alternativeNames: directoryAttributes(names),
  };
}

function decode<T>(extensions: readonly Extension[], id: string, type: new () => T): T | undefined {
  const extension = extensions.find((item) => item.extnID === id);
  if (extension === undefined) return undefined;
  return AsnConvert.parse(extension.extnValue.buffer, type);
}

function directoryAttributes(names: SubjectAlternativeName | undefined): Map<string, string> {
  const attributes = new Map<string, string>();
  for (const { directoryName } of names ?? []) {
    for (const relative of directoryName ?? []) {
      for (const { type, value } of relative) attributes.set(type, value.toString());
    }
  }
  return attributes;
}

function malformedCertificate(fault: string, cause?: unknown): LacreError {
  return new LacreError(
    'tpm.endorsement.certificate',
    `a certificate of the endorsement chain: ${fault}`,
    {},
    { cause },
  );
}
