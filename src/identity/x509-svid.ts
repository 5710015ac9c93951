import { type KeyObject, X509Certificate } from 'node:crypto';
import { LacreError } from '../lacre-error.ts';
import { type CertificateFields, KEY_USAGE, OID, parseCertificateFields } from './certificate-fields.ts';
import { requirePublicKey } from './public-key.ts';
import { SpiffeId } from './spiffe-id.ts';

/** ECDSA and RSA with SHA-2 (RFC 5758, RFC 4055). */
const SIGNATURES: readonly string[] = [
  '1.2.840.10045.4.3.2',
  '1.2.840.10045.4.3.3',
  '1.2.840.10045.4.3.4',
  '1.2.840.113549.1.1.11',
  '1.2.840.113549.1.1.12',
  '1.2.840.113549.1.1.13',
];
/** Leaf, intermediates and root. */
const MAX_CHAIN = 4;

/** A leaf certificate that chains to the bundle, with its one SPIFFE ID. Made by verifyX509Svid only. */
export class VerifiedX509Svid {
  readonly #brand = true;
  readonly spiffeId: SpiffeId;
  /** Lower-case hex of the serial's integer, without a leading zero byte. */
  readonly serialHex: string;
  readonly notAfter: Date;
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Uint8Array;

  /** @internal only verifyX509Svid calls it: the token is private to this module. */
  constructor(token: symbol, spiffeId: SpiffeId, serialHex: string, notAfter: Date, publicKey: Uint8Array) {
    if (token !== TOKEN) throw refused('only verifyX509Svid makes a VerifiedX509Svid');
    this.spiffeId = spiffeId;
    this.serialHex = serialHex;
    this.notAfter = notAfter;
    this.publicKey = publicKey;
  }

  static is(value: unknown): value is VerifiedX509Svid {
    return typeof value === 'object' && value !== null && #brand in value;
  }
}

const TOKEN = Symbol('VerifiedX509Svid');

/**
 * Validates an X.509-SVID (X509-SVID 5.1, 5.2; RFC 5280, 6) at a time. Proven on return: a CA of the bundle signed
 * the chain, all of it is valid at `now`, the leaf is no CA and carries exactly one SPIFFE ID, with a path. Not
 * proven: that whoever shows it holds its key (TLS does that), and that it was not withdrawn.
 * @param input.chain DER, leaf first, intermediates after it; a root in it is not believed.
 * @param input.bundle DER of the trust domain's authorities.
 * Codes: identity.der.malformed, identity.certificate.malformed, identity.svid.refused, identity.svid.untrusted,
 * identity.svid.expired, identity.spiffe-id.malformed, identity.trust-domain.malformed, identity.key.*.
 */
export function verifyX509Svid(input: {
  chain: readonly Uint8Array[];
  bundle: readonly Uint8Array[];
  now: Date;
}): VerifiedX509Svid {
  const { chain, bundle, now } = input;
  const [leafBytes, ...intermediates] = chain;
  if (leafBytes === undefined) throw refused('there is no certificate');
  if (chain.length > MAX_CHAIN) throw refused(`a chain has at most ${MAX_CHAIN} certificates`);
  const leaf = readCertificate(leafBytes);
  const spiffeId = checkLeaf(leaf.fields);
  checkTime(leaf.certificate, now);
  const publicKey = new Uint8Array(leaf.key.export({ format: 'der', type: 'spki' }));
  requirePublicKey(publicKey);
  const roots = bundle.map(readCertificate);
  if (!chains(leaf, intermediates.map(readCertificate), roots, now, 0)) {
    const unsigned = 'no authority of the trust domain has signed the certificate, or it is not valid now';
    throw new LacreError('identity.svid.untrusted', unsigned, { spiffeId: spiffeId.uri });
  }
  const serialHex = leaf.fields.serialHex.replace(/^00(?=.)/, '');
  return new VerifiedX509Svid(TOKEN, spiffeId, serialHex, leaf.certificate.validToDate, publicKey);
}

interface ReadCertificate {
  readonly certificate: X509Certificate;
  readonly fields: CertificateFields;
  readonly key: KeyObject;
}

function readCertificate(bytes: Uint8Array): ReadCertificate {
  const fields = parseCertificateFields(bytes);
  try {
    const certificate = new X509Certificate(bytes);
    // A time that cannot be read is NaN, which is neither before nor after anything.
    const times = [certificate.validFromDate, certificate.validToDate];
    if (times.some((time) => Number.isNaN(time.getTime()))) throw new Error('its validity cannot be read');
    return { certificate, fields, key: certificate.publicKey };
  } catch (error) {
    throw new LacreError('identity.certificate.malformed', 'the certificate cannot be read', {}, { cause: error });
  }
}

/** X509-SVID 2, 3.1, 4.1, 4.3, 4.4, 5.2. */
function checkLeaf(fields: CertificateFields): SpiffeId {
  const [uri, ...others] = fields.uris;
  if (uri === undefined) throw refused('the certificate has no URI name');
  if (others.length > 0) throw refused('the certificate has more than one URI name');
  if (fields.emptySubject && !fields.criticalNames) throw refused('without a subject the names must be critical');
  if (fields.isCa === true) throw refused('the certificate is that of an authority');
  if (fields.keyUsage === undefined || !fields.criticalKeyUsage)
    throw refused('the certificate has no critical key usage');
  if ((fields.keyUsage & KEY_USAGE.digitalSignature) === 0) throw refused('the key may not make digital signatures');
  if ((fields.keyUsage & (KEY_USAGE.keyCertSign | KEY_USAGE.cRLSign)) !== 0)
    throw refused('the key may sign certificates');
  const purposes = fields.extendedKeyUsage;
  if (purposes !== undefined && !(purposes.includes(OID.serverAuth) && purposes.includes(OID.clientAuth))) {
    throw refused('an extended key usage must name both server and client');
  }
  checkAnyCertificate(fields);
  const spiffeId = SpiffeId.parse(uri);
  if (spiffeId.path === '') throw refused("a leaf's SPIFFE ID has a path");
  return spiffeId;
}

function checkAnyCertificate(fields: CertificateFields): void {
  if (fields.unknownCritical.length > 0)
    throw refused(`critical extension ${fields.unknownCritical.join(', ')} is not known`);
  if (!SIGNATURES.includes(fields.signatureAlgorithm))
    throw refused('the certificate is signed by a way that is not accepted');
}

/** RFC 5280, 6.1, for a chain of a few: is there a way from `subject` to a root? `below` counts CAs passed. */
function chains(
  subject: ReadCertificate,
  intermediates: readonly ReadCertificate[],
  roots: readonly ReadCertificate[],
  now: Date,
  below: number,
): boolean {
  if (roots.some((root) => mayIssue(root, subject, now, below))) return true;
  if (below + 1 >= MAX_CHAIN) return false;
  return intermediates.some(
    (issuer) =>
      issuer !== subject &&
      mayIssue(issuer, subject, now, below) &&
      chains(issuer, intermediates, roots, now, below + 1),
  );
}

function mayIssue(issuer: ReadCertificate, subject: ReadCertificate, now: Date, below: number): boolean {
  const { fields, certificate } = issuer;
  if (fields.isCa !== true || ((fields.keyUsage ?? 0) & KEY_USAGE.keyCertSign) === 0) return false;
  if (fields.pathLength !== undefined && fields.pathLength < below) return false;
  if (fields.unknownCritical.length > 0 || !SIGNATURES.includes(fields.signatureAlgorithm)) return false;
  if (now < certificate.validFromDate || now > certificate.validToDate) return false;
  if (!sameDomain(fields, subject.fields)) return false;
  return subject.certificate.checkIssued(certificate) && subject.certificate.verify(issuer.key);
}

/** An authority that carries a SPIFFE ID is believed for its own trust domain only (X509-SVID 3.2). */
function sameDomain(issuer: CertificateFields, subject: CertificateFields): boolean {
  const [issuerUri] = issuer.uris;
  const [subjectUri] = subject.uris;
  if (issuerUri === undefined || subjectUri === undefined) return true;
  const domain = (uri: string): string => uri.split('/')[2] ?? '';
  return domain(issuerUri) === domain(subjectUri);
}

function checkTime(certificate: X509Certificate, now: Date): void {
  if (now >= certificate.validFromDate && now <= certificate.validToDate) return;
  const sentence = now < certificate.validFromDate ? 'the certificate is not valid yet' : 'the certificate has expired';
  throw new LacreError('identity.svid.expired', sentence, { notAfter: certificate.validToDate.toISOString() });
}

function refused(sentence: string): LacreError {
  return new LacreError('identity.svid.refused', sentence);
}
