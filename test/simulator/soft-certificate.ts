import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { AsnConvert, OctetString } from '@peculiar/asn1-schema';
import {
  AlgorithmIdentifier,
  AttributeTypeAndValue,
  AttributeValue,
  BasicConstraints,
  Certificate,
  ExtendedKeyUsage,
  Extension,
  Extensions,
  id_ce_basicConstraints,
  id_ce_extKeyUsage,
  id_ce_keyUsage,
  KeyUsage,
  type KeyUsageFlags,
  Name,
  RelativeDistinguishedName,
  SubjectPublicKeyInfo,
  TBSCertificate,
  Validity,
  Version,
} from '@peculiar/asn1-x509';

const ECDSA_WITH_SHA256 = '1.2.840.10045.4.3.2';
const COMMON_NAME = '2.5.4.3';
const ORGANIZATION = '2.5.4.10';

/** Somebody with a P-256 key and a certificate over it. */
export interface Party {
  readonly name: string;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  /** DER. */
  readonly certificate: Uint8Array;
}

/** What a certificate says; by default a CA without bounds that lives from 2026 to 2036. */
export interface PartyOptions {
  readonly isCa?: boolean;
  readonly pathLength?: number;
  /** undefined: no KeyUsage extension. */
  readonly usage?: KeyUsageFlags | undefined;
  /** Object identifiers. */
  readonly extendedUsage?: readonly string[];
  readonly extension?: Extension;
  readonly notAfter?: Date;
  /** Positive, below 0x80 at its first byte. */
  readonly serial?: Uint8Array;
  /** Subject's key; by default a new one. */
  readonly publicKey?: KeyObject;
}

/**
 * Makes a certificate of any sort, signed by `issuer` or by itself: also those that no CA should make.
 *
 * @param name common name; before a slash, an organization
 */
export function issueCertificate(name: string, issuer: Party | undefined, options: PartyOptions = {}): Party {
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const publicKey = options.publicKey ?? pair.publicKey;
  const signature = new AlgorithmIdentifier({ algorithm: ECDSA_WITH_SHA256 });
  const tbs = new TBSCertificate({
    version: Version.v3,
    serialNumber: Uint8Array.from(options.serial ?? [1]).buffer,
    signature,
    issuer: nameOf(issuer?.name ?? name),
    validity: new Validity({
      notBefore: new Date('2026-01-01T00:00:00Z'),
      notAfter: options.notAfter ?? new Date('2036-01-01T00:00:00Z'),
    }),
    subject: nameOf(name),
    subjectPublicKeyInfo: AsnConvert.parse(publicKey.export({ type: 'spki', format: 'der' }), SubjectPublicKeyInfo),
    extensions: new Extensions(extensionsOf(options)),
  });
  const signed = sign('sha256', Buffer.from(AsnConvert.serialize(tbs)), issuer?.privateKey ?? pair.privateKey);
  const certificate = new Certificate({
    tbsCertificate: tbs,
    signatureAlgorithm: signature,
    signatureValue: new Uint8Array(signed).buffer,
  });
  return {
    name,
    publicKey,
    privateKey: pair.privateKey,
    certificate: new Uint8Array(AsnConvert.serialize(certificate)),
  };
}

/** A critical or harmless extension that nobody knows. */
export function unknownExtension(critical: boolean): Extension {
  return new Extension({ extnID: '1.2.3.4', critical, extnValue: new OctetString(Uint8Array.of(5, 0)) });
}

function extensionsOf(options: PartyOptions): Extension[] {
  const { pathLength } = options;
  const constraints = new BasicConstraints({
    cA: options.isCa ?? true,
    ...(pathLength === undefined ? {} : { pathLenConstraint: pathLength }),
  });
  return [
    extension(id_ce_basicConstraints, true, constraints),
    ...(options.usage === undefined ? [] : [extension(id_ce_keyUsage, true, new KeyUsage(options.usage))]),
    ...(options.extendedUsage === undefined
      ? []
      : [extension(id_ce_extKeyUsage, false, new ExtendedKeyUsage([...options.extendedUsage]))]),
    ...(options.extension === undefined ? [] : [options.extension]),
  ];
}

function extension(extnID: string, critical: boolean, value: object): Extension {
  return new Extension({ extnID, critical, extnValue: new OctetString(AsnConvert.serialize(value)) });
}

function nameOf(text: string): Name {
  const attribute = (type: string, utf8String: string) =>
    new RelativeDistinguishedName([new AttributeTypeAndValue({ type, value: new AttributeValue({ utf8String }) })]);
  const [organization, common] = text.split('/');
  if (common === undefined) return new Name([attribute(COMMON_NAME, text)]);
  return new Name([attribute(ORGANIZATION, String(organization)), attribute(COMMON_NAME, common)]);
}
