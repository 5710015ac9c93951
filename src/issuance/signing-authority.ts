import { createPublicKey, type KeyObject, X509Certificate } from 'node:crypto';
import { equalBytes } from '../bytes/equal.ts';
import { toHex } from '../bytes/hex.ts';
import { KEY_USAGE, parseCertificateFields } from '../identity/certificate-fields.ts';
import { DerReader, TAG } from '../identity/der.ts';
import { TrustDomain } from '../identity/trust-domain.ts';
import { LacreError } from '../lacre-error.ts';
import { distinguishedName, signCertificate } from './certificate.ts';
import {
  AUTHORITY_CONSTRAINTS,
  AUTHORITY_KEY_USAGE,
  alternativeNames,
  authorityKeyIdentifier,
  keyIdentifier,
  subjectKeyIdentifier,
} from './extension.ts';

/** For clocks that are a little behind ours. */
const BACKDATE_MS = 60_000;

/** An authority with its key: the two belong together, and the certificate is an X.509-SVID signing certificate. */
export class SigningAuthority {
  readonly #brand = true;
  readonly trustDomain: TrustDomain;
  /** DER. */
  readonly certificate: Uint8Array;
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** Name, DER: the issuer of what it signs. */
  readonly subject: Uint8Array;
  /** Lower-case hex of the subject key identifier. */
  readonly keyIdHex: string;
  /** Extension of what it signs, DER. */
  readonly keyIdentifierExtension: Uint8Array;
  readonly #key: KeyObject;

  private constructor(trustDomain: TrustDomain, certificate: Uint8Array, parsed: X509Certificate, key: KeyObject) {
    const keyId = keyIdentifier(spkiOf(parsed.publicKey));
    this.trustDomain = trustDomain;
    this.certificate = certificate;
    this.notBefore = parsed.validFromDate;
    this.notAfter = parsed.validToDate;
    this.subject = subjectOf(certificate);
    this.keyIdHex = toHex(keyId);
    this.keyIdentifierExtension = authorityKeyIdentifier(keyId);
    this.#key = key;
  }

  static is(value: unknown): value is SigningAuthority {
    return typeof value === 'object' && value !== null && #brand in value;
  }

  /**
   * Joins a certificate and its private key, as read from where they were kept.
   * Codes: issuance.authority.invalid, identity.*.
   */
  static open(certificate: Uint8Array, key: KeyObject): SigningAuthority {
    const fields = parseCertificateFields(certificate);
    const parsed = new X509Certificate(certificate);
    const [uri, ...others] = fields.uris;
    const usage = fields.keyUsage ?? 0;
    if (fields.isCa !== true || (usage & KEY_USAGE.keyCertSign) === 0) throw invalid('the certificate is no authority');
    if (uri === undefined || others.length > 0) throw invalid("the authority's certificate must carry one SPIFFE ID");
    if (!uri.startsWith('spiffe://')) throw invalid("the authority's certificate must carry one SPIFFE ID");
    const trustDomain = TrustDomain.parse(uri.slice('spiffe://'.length));
    if (key.type !== 'private' || key.asymmetricKeyDetails?.namedCurve !== 'prime256v1')
      throw invalid('the key is not P-256');
    if (!equalBytes(spkiOf(createPublicKey(key)), spkiOf(parsed.publicKey))) {
      throw invalid('the key is not that of the certificate');
    }
    return new SigningAuthority(trustDomain, certificate, parsed, key);
  }

  /**
   * Makes a self-signed authority (X509-SVID 3.2, 4): critical basicConstraints CA with path length 0, critical
   * keyCertSign and cRLSign, the trust domain as its SPIFFE ID.
   * @param input.key P-256 private key. @param input.serial 16 random bytes.
   * Code: issuance.authority.invalid.
   */
  static create(input: {
    trustDomain: TrustDomain;
    key: KeyObject;
    serial: Uint8Array;
    now: Date;
    ttlMs: number;
    subject: { organization: string; commonName: string };
  }): SigningAuthority {
    const { trustDomain, key, serial, now, ttlMs, subject } = input;
    if (key.type !== 'private' || key.asymmetricKeyDetails?.namedCurve !== 'prime256v1')
      throw invalid('the key is not P-256');
    const publicKey = spkiOf(createPublicKey(key));
    const name = distinguishedName(subject.organization, subject.commonName);
    const certificate = signCertificate(
      {
        serial,
        issuer: name,
        subject: name,
        notBefore: new Date(now.getTime() - BACKDATE_MS),
        notAfter: new Date(now.getTime() + ttlMs),
        publicKey,
        extensions: [
          AUTHORITY_CONSTRAINTS,
          AUTHORITY_KEY_USAGE,
          subjectKeyIdentifier(keyIdentifier(publicKey)),
          alternativeNames(trustDomain.uri, [], false),
        ],
      },
      key,
    );
    return SigningAuthority.open(certificate, key);
  }

  /**
   * Signs a leaf below this authority, whose name it gets as issuer. Within `issuance` only: whoever calls has
   * checked a verdict.
   */
  signLeaf(body: {
    serial: Uint8Array;
    subject: Uint8Array;
    notBefore: Date;
    notAfter: Date;
    publicKey: Uint8Array;
    extensions: readonly Uint8Array[];
  }): Uint8Array {
    const extensions = [...body.extensions, this.keyIdentifierExtension];
    return signCertificate({ ...body, extensions, issuer: this.subject }, this.#key);
  }

  /** PKCS #8 DER of the private key, for the place that keeps it. */
  exportKey(): Uint8Array {
    return new Uint8Array(this.#key.export({ format: 'der', type: 'pkcs8' }));
  }

  /** Keeps the key out of logs: only what the certificate says. */
  toJSON(): unknown {
    return { trustDomain: this.trustDomain.name, keyId: this.keyIdHex, notAfter: this.notAfter.toISOString() };
  }
}

function spkiOf(key: KeyObject): Uint8Array {
  return new Uint8Array(key.export({ format: 'der', type: 'spki' }));
}

/** The subject's Name, DER. */
function subjectOf(certificate: Uint8Array): Uint8Array {
  const body = new DerReader(certificate, 'the certificate').enter(TAG.sequence).enter(TAG.sequence);
  body.read(0xa0);
  body.read(TAG.integer);
  for (let field = 0; field < 3; field++) body.read(TAG.sequence);
  return body.readWhole(TAG.sequence);
}

function invalid(sentence: string): LacreError {
  return new LacreError('issuance.authority.invalid', sentence);
}
