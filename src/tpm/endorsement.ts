import type { X509Certificate } from 'node:crypto';
import { equalBytes } from '../bytes/equal.ts';
import { sha256Hex } from '../bytes/sha256.ts';
import { LacreError } from '../lacre-error.ts';
import { certificateSpki, type EndorsementCertificate, parseEndorsementCertificate } from './certificate.ts';
import { type EndorsementRoot, findChain, type RootOfTrust } from './certificate-chain.ts';
import { requireStorageKey } from './credential.ts';
import type { PublicArea } from './public-area.ts';

export type { EndorsementRoot, RootOfTrust } from './certificate-chain.ts';

const MAKE = Symbol('only verifyEndorsement makes one');

/** What an EK certificate says of its TPM, for people; the maker vouches for it. Empty where it says nothing. */
export interface EndorsementFacts {
  readonly manufacturer: string;
  readonly model: string;
  readonly version: string;
  readonly serialHex: string;
  readonly issuer: string;
  /** Subjects of the chain, the EK certificate's first, the configured root's last. */
  readonly chain: readonly string[];
}

/**
 * An endorsement key that a configured root vouches for. What kind of chip it is, not whose: ownership is the
 * inventory's. That somebody holds the key is proven by credential activation alone.
 */
export class VerifiedEndorsement {
  readonly #brand = true;
  readonly rootOfTrust: RootOfTrust;
  readonly ekSha256Hex: string;
  readonly facts: EndorsementFacts;
  readonly ek: PublicArea;

  constructor(token: typeof MAKE, ek: PublicArea, rootOfTrust: RootOfTrust, facts: EndorsementFacts) {
    if (token !== MAKE) throw new TypeError('use verifyEndorsement');
    this.ek = ek;
    this.rootOfTrust = rootOfTrust;
    this.ekSha256Hex = ekSha256Hex(ek.spki);
    this.facts = facts;
  }

  static isVerified(value: object): value is VerifiedEndorsement {
    return #brand in value;
  }
}

/** Input of verifyEndorsement; all but `roots` and `now` is hostile. */
export interface EndorsementInput {
  /** EK certificate, DER. */
  readonly certificate: Uint8Array;
  /** DER, in any order; at most 8. */
  readonly intermediates: readonly Uint8Array[];
  readonly roots: readonly EndorsementRoot[];
  readonly ek: PublicArea;
  readonly now: Date;
}

/** tcg-kp-EKCertificate and anyExtendedKeyUsage. */
const EK_USAGE = ['2.23.133.8.1', '2.5.29.37.0'] as const;
const MANUFACTURER = '2.23.133.2.1';
const MODEL = '2.23.133.2.2';
const VERSION = '2.23.133.2.3';

/** Key of the inventory: SHA-256 of an EK's SubjectPublicKeyInfo (DER, as PublicArea.spki or certificateSpki give it). */
export function ekSha256Hex(spki: Uint8Array): string {
  return sha256Hex(spki);
}

/**
 * Verifies an EK certificate (TCG EK Credential Profile 2.5, 3; RFC 5280, 6): it is for the key of `ek`, is meant for
 * endorsement keys, and chains to one of `roots`: each link's signature, names, CA rights, path length, critical
 * extensions and validity at `now`. An issuer's revocation list is not asked: DESIGN's inventory decides which chip is in.
 *
 * Throws tpm.endorsement.certificate, .key, .usage, .expired, .chain, tpm.ek.attributes.
 */
export function verifyEndorsement(input: EndorsementInput): VerifiedEndorsement {
  requireStorageKey(input.ek);
  const leaf = parseEndorsementCertificate(input.certificate);
  if (!equalBytes(certificateSpki(input.certificate), input.ek.spki)) {
    throw new LacreError('tpm.endorsement.key', 'the EK certificate is for another key than the endorsement key', {
      ekSha256: ekSha256Hex(input.ek.spki),
    });
  }
  checkUsage(leaf, input.ek);
  const { root, path } = findChain(leaf, input.intermediates, input.roots, input.now);
  const facts = factsOf(leaf, [...path.map((certificate) => certificate.x509), root.certificate]);
  return new VerifiedEndorsement(MAKE, input.ek, root.tier, facts);
}

/** A certificate for another purpose of the same maker (platform, attestation key, CA) is no EK certificate. */
function checkUsage(leaf: EndorsementCertificate, ek: PublicArea): void {
  const purpose = ek.algorithm === 'rsa' ? 'keyEncipherment' : 'keyAgreement';
  const faults = [
    ...(leaf.isCa ? ['it is a CA certificate'] : []),
    ...(leaf.unknownCritical.length > 0 ? [`it has critical extensions ${leaf.unknownCritical.join()}`] : []),
    ...(leaf.extendedKeyUsage?.some((id) => EK_USAGE.some((known) => known === id)) === false
      ? [`its extended key usage is ${leaf.extendedKeyUsage.join()}`]
      : []),
    ...(leaf.keyUsage !== undefined && !leaf.keyUsage.includes(purpose) ? [`it does not allow ${purpose}`] : []),
  ];
  if (faults.length === 0) return;
  const all = faults.join(', ');
  throw new LacreError('tpm.endorsement.usage', `the certificate is not one for an endorsement key: ${all}`, {
    faults: all,
  });
}

function factsOf(leaf: EndorsementCertificate, chain: readonly X509Certificate[]): EndorsementFacts {
  const name = (id: string) => leaf.alternativeNames.get(id) ?? '';
  return {
    manufacturer: name(MANUFACTURER),
    model: name(MODEL),
    version: name(VERSION),
    serialHex: leaf.x509.serialNumber.toLowerCase(),
    issuer: oneLine(leaf.x509.issuer),
    chain: chain.map((certificate) => oneLine(certificate.subject)),
  };
}

function oneLine(name: string): string {
  return name.replaceAll('\n', ', ');
}
