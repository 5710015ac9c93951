import type { X509Certificate } from 'node:crypto';
import { at } from '../bytes/at.ts';
import { LacreError } from '../lacre-error.ts';
import { type EndorsementCertificate, parseEndorsementCertificate } from './certificate.ts';

/** What stands behind an EK: a chip's maker, a cloud's virtual TPM, or a software TPM. */
export type RootOfTrust = 'hardware' | 'vtpm' | 'software';

/** A certificate that the operator trusts to vouch for EKs of one tier; a root, or an issuer pinned below one. */
export interface EndorsementRoot {
  readonly certificate: X509Certificate;
  readonly tier: RootOfTrust;
}

/** A chain that verified: `path` from the leaf to the last certificate below `root`. */
export interface VerifiedChain {
  readonly path: readonly EndorsementCertificate[];
  readonly root: EndorsementRoot;
}

/**
 * What becomes of certificates after their notAfter: chips outlive them, and no maker renews an EK certificate. Before its
 * notBefore none is ever good.
 */
export type ExpiryPolicy = 'refuse' | 'accept';

const MAX_INTERMEDIATES = 8;
/** Signatures that one endorsement may cost: hostile intermediates of one name must not make a tree. */
const MAX_SIGNATURES = 32;
const MAX_DEPTH = 6;
const EK_USAGE: readonly string[] = ['2.23.133.8.1', '2.5.29.37.0'];

interface Search {
  readonly intermediates: readonly EndorsementCertificate[];
  readonly roots: readonly EndorsementRoot[];
  readonly now: Date;
  readonly expiry: ExpiryPolicy | undefined;
  signatures: number;
  /** A link that verified but for its time, to say the more useful sentence. */
  expired: X509Certificate | undefined;
}

/**
 * Finds a chain from `leaf` over some of `intermediates` (DER, hostile) to one of `roots`, and verifies it (RFC 5280,
 * 6.1): names, signatures, CA rights, key usage, path length, critical extensions, validity at `now`, the root's too
 * (`expiry` says what is done after notAfter; left out: refused).
 * The root's own signature is not looked at: it is trusted by configuration.
 *
 * Throws tpm.endorsement.certificate, tpm.endorsement.chain, tpm.endorsement.expired.
 */
export function findChain(
  leaf: EndorsementCertificate,
  intermediates: readonly Uint8Array[],
  roots: readonly EndorsementRoot[],
  now: Date,
  expiry?: ExpiryPolicy,
): VerifiedChain {
  if (intermediates.length > MAX_INTERMEDIATES) {
    throw new LacreError(
      'tpm.endorsement.certificate',
      `${intermediates.length} intermediate certificates are too many`,
    );
  }
  const parsed = intermediates.map(parseEndorsementCertificate);
  const search: Search = { intermediates: parsed, roots, now, expiry, signatures: 0, expired: undefined };
  if (!isValid(search, leaf.x509)) throw expired(leaf.x509, now);
  const chain = extend(search, [leaf]);
  if (chain !== undefined) return chain;
  if (search.expired !== undefined) throw expired(search.expired, now);
  const issuer = leaf.x509.issuer.replaceAll('\n', ', ');
  throw new LacreError(
    'tpm.endorsement.chain',
    `no configured root vouches for the EK certificate issued by ${issuer}`,
    {
      issuer,
    },
  );
}

function extend(search: Search, path: readonly EndorsementCertificate[]): VerifiedChain | undefined {
  if (path.length > MAX_DEPTH) return undefined;
  const child = at(path, path.length - 1);
  for (const root of search.roots) {
    // Makers' stores hold dozens: only those of the right name are parsed.
    if (root.certificate.subject !== child.x509.issuer) continue;
    const anchor = parseEndorsementCertificate(root.certificate.raw);
    if (mayIssue(search, anchor, child, path.length - 1)) return { path, root };
  }
  for (const issuer of search.intermediates) {
    if (path.includes(issuer) || !mayIssue(search, issuer, child, path.length - 1)) continue;
    const chain = extend(search, [...path, issuer]);
    if (chain !== undefined) return chain;
  }
  return undefined;
}

/** Whether `issuer` signed `child` and had the right to, with `below` CA certificates between it and the leaf. */
function mayIssue(
  search: Search,
  issuer: EndorsementCertificate,
  child: EndorsementCertificate,
  below: number,
): boolean {
  const named = issuer.x509.subject === child.x509.issuer && child.x509.checkIssued(issuer.x509);
  const hasRight =
    issuer.isCa &&
    (issuer.keyUsage?.includes('keyCertSign') ?? true) &&
    (issuer.extendedKeyUsage?.some((id) => EK_USAGE.includes(id)) ?? true) &&
    issuer.unknownCritical.length === 0 &&
    (issuer.pathLength === undefined || below <= issuer.pathLength);
  if (!named || !hasRight) return false;
  search.signatures += 1;
  if (search.signatures > MAX_SIGNATURES || !child.x509.verify(issuer.x509.publicKey)) return false;
  if (isValid(search, issuer.x509)) return true;
  search.expired = issuer.x509;
  return false;
}

function isValid({ now, expiry }: Search, certificate: X509Certificate): boolean {
  return certificate.validFromDate <= now && (expiry === 'accept' || now <= certificate.validToDate);
}

function expired(certificate: X509Certificate, now: Date): LacreError {
  const subject = certificate.subject.replaceAll('\n', ', ');
  return new LacreError(
    'tpm.endorsement.expired',
    `the certificate of ${subject} is valid from ${certificate.validFrom} to ${certificate.validTo}, not now`,
    { subject, now: now.toISOString() },
  );
}
