import type { X509Certificate } from 'node:crypto';
import { equalBytes } from '../bytes/equal.ts';
import { sha256Hex } from '../bytes/sha256.ts';
import { LacreError } from '../lacre-error.ts';
import { certificateSpki, type EndorsementCertificate, parseEndorsementCertificate } from './certificate.ts';
import { type EndorsementRoot, type ExpiryPolicy, findChain, type RootOfTrust } from './certificate-chain.ts';
import { requireStorageKey } from './credential.ts';
import type { PublicArea } from './public-area.ts';

export type { EndorsementRoot, ExpiryPolicy, RootOfTrust } from './certificate-chain.ts';

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

/** TPMs that may be endorsed; what is left out, or empty, may be anything. Texts as the EK certificate has them. */
export interface AllowedTpm {
  /** Such as `id:494E5443`, or its four letters `INTC` (TCG vendor ID registry). */
  readonly manufacturer?: string | undefined;
  readonly model?: string | undefined;
  /** Of the firmware when the certificate was made, such as `id:00020000`. */
  readonly version?: string | undefined;
}

/** What the operator asks of an EK certificate beyond its chain. */
export interface EndorsementPolicy {
  readonly expired: ExpiryPolicy;
  /** Empty: any. Else one of them must fit. */
  readonly allow: readonly AllowedTpm[];
}

/** Input of verifyEndorsement; all but `roots`, `now` and `policy` is hostile. */
export interface EndorsementInput {
  /** EK certificate, DER. */
  readonly certificate: Uint8Array;
  /** DER, in any order; at most 8. */
  readonly intermediates: readonly Uint8Array[];
  readonly roots: readonly EndorsementRoot[];
  readonly ek: PublicArea;
  readonly now: Date;
  /** Left out: expired certificates are refused, TPMs of every make are accepted. */
  readonly policy?: EndorsementPolicy;
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
 * Throws tpm.endorsement.certificate, .key, .usage, .expired, .chain, .disallowed, tpm.ek.attributes.
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
  const { intermediates, roots, now, policy } = input;
  const { root, path } = findChain(leaf, intermediates, roots, now, policy?.expired);
  const facts = factsOf(leaf, [...path.map((certificate) => certificate.x509), root.certificate]);
  checkAllowed(facts, policy?.allow ?? []);
  return new VerifiedEndorsement(MAKE, input.ek, root.tier, facts);
}

/** The names are of the EK certificate, so the configured root vouches for them. */
function checkAllowed(facts: EndorsementFacts, allow: readonly AllowedTpm[]): void {
  const { manufacturer, model, version } = facts;
  const fits = (wanted: string | undefined, ...seen: readonly string[]) =>
    wanted === undefined || wanted === '' || seen.some((text) => text.toUpperCase() === wanted.toUpperCase());
  const isAllowed = allow.some(
    (tpm) =>
      fits(tpm.manufacturer, manufacturer, ...vendorLetters(manufacturer)) &&
      fits(tpm.model, model) &&
      fits(tpm.version, version),
  );
  if (allow.length === 0 || isAllowed) return;
  const tpm = `manufacturer ${JSON.stringify(manufacturer)}, model ${JSON.stringify(model)}, version ${JSON.stringify(version)}`;
  throw new LacreError('tpm.endorsement.disallowed', `the allow list has no TPM of ${tpm}`, {
    manufacturer,
    model,
    version,
  });
}

/** `id:494E5443` is INTC: four letters of the TCG vendor ID registry in hexadecimal, filled up with zeros. */
function vendorLetters(manufacturer: string): string[] {
  const [, hex] = /^id:([0-9a-f]{8})$/i.exec(manufacturer) ?? [];
  if (hex === undefined) return [];
  const letters = Buffer.from(hex, 'hex').toString('latin1');
  return [letters.replace(/[\0 ]+$/, '')];
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
