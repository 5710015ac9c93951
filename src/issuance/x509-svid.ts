import { Verdict } from '../appraisal/verdict.ts';
import { toHex } from '../bytes/hex.ts';
import { VerifiedCsr } from '../identity/csr.ts';
import { requirePublicKey } from '../identity/public-key.ts';
import { agentSpiffeId, isReserved, SpiffeId, serverSpiffeId } from '../identity/spiffe-id.ts';
import { LacreError } from '../lacre-error.ts';
import { EMPTY_NAME } from './certificate.ts';
import { isDnsName } from './dns-name.ts';
import {
  alternativeNames,
  keyIdentifier,
  LEAF_CONSTRAINTS,
  LEAF_EXTENDED_KEY_USAGE,
  LEAF_KEY_USAGE,
  subjectKeyIdentifier,
} from './extension.ts';
import { SigningAuthority } from './signing-authority.ts';

/** For clocks of peers that are a little behind ours. */
const BACKDATE_MS = 10_000;
const SERIAL_BYTES = 16;
const MAX_DNS_NAMES = 64;
/** Subject of the verdict over a node's host. */
const HOST = 'host';

/** An issued X.509-SVID. */
export interface X509Svid {
  readonly spiffeId: SpiffeId;
  /** DER, of the leaf; its issuer is in the bundle. */
  readonly certificate: Uint8Array;
  /** Lower-case hex of the serial's integer, without a leading zero byte. */
  readonly serialHex: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
}

interface Issuing {
  /** Of this very evidence; anything but a trusted Verdict is refused. */
  readonly verdict: Verdict;
  readonly authority: SigningAuthority;
  readonly now: Date;
  /** Whole seconds, counted from the evidence. */
  readonly ttlSeconds: number;
  /** 16 random bytes, not all zero. */
  readonly serial: Uint8Array;
}

/**
 * Issues a workload's X.509-SVID on a trusted verdict (DESIGN section 9): valid from 10 s before `now` until
 * `ttlSeconds` after the evidence, never longer than its authority. X509-SVID 2-4: empty subject, critical names with
 * the one URI, CA:FALSE, digitalSignature, server and client.
 * @param input.publicKey SubjectPublicKeyInfo, DER, P-256, P-384 or RSA of 2048 to 4096 bits.
 * @param input.evidenceTime when the nonce of the evidence was made; the verdict's own where that is earlier.
 * Codes: issuance.untrusted, issuance.stale, issuance.refused, identity.key.*.
 */
export async function issueX509Svid(
  input: Issuing & {
    readonly spiffeId: SpiffeId;
    readonly publicKey: Uint8Array;
    readonly evidenceTime?: Date;
    readonly dnsNames?: readonly string[];
  },
): Promise<X509Svid> {
  const { spiffeId, dnsNames = [] } = input;
  if (isReserved(spiffeId)) throw refused(`${spiffeId} lies below /spire, which is kept for agents`);
  if (dnsNames.length > MAX_DNS_NAMES) throw refused(`an SVID has at most ${MAX_DNS_NAMES} DNS names`);
  const wrong = dnsNames.find((name) => !isDnsName(name));
  if (wrong !== undefined) throw refused('a DNS name of the entry is not well-formed');
  return issue({ ...input, dnsNames }, false);
}

/**
 * Issues an agent's own X.509-SVID on the trusted verdict over its host. The name is made here from the EK's hash.
 * @param input.csr whose signature proved that the agent holds the key.
 * @param input.ekSha256Hex of the EK's SubjectPublicKeyInfo: the node's key in the inventory.
 * Codes: issuance.untrusted, issuance.stale, issuance.refused.
 */
export async function issueAgentSvid(
  input: Issuing & { readonly ekSha256Hex: string; readonly csr: VerifiedCsr; readonly evidenceTime?: Date },
): Promise<X509Svid> {
  if (!VerifiedCsr.is(input.csr)) throw refused('the certificate request was not verified');
  if (!/^[0-9a-f]{64}$/.test(input.ekSha256Hex)) throw refused('the EK has no SHA-256');
  const spiffeId = agentSpiffeId(input.authority.trustDomain, input.ekSha256Hex);
  return issue({ ...input, spiffeId, publicKey: input.csr.publicKey, dnsNames: [] }, true);
}

/**
 * Issues the server's own X.509-SVID, spiffe://TRUST-DOMAIN/spire/server: the one leaf without a verdict, since it is
 * the verifier that would have to give it. Agents ask for exactly this name.
 * Codes: issuance.stale, issuance.refused, identity.key.*.
 */
export function issueServerSvid(input: Omit<Issuing, 'verdict'> & { readonly publicKey: Uint8Array }): X509Svid {
  if (!SigningAuthority.is(input.authority)) throw refused('the authority is none that this program opened');
  return sign({ ...input, spiffeId: serverSpiffeId(input.authority.trustDomain), dnsNames: [] }, input.now);
}

function issue(input: Leaf & { readonly verdict: Verdict; readonly evidenceTime?: Date }, overHost: boolean): X509Svid {
  const { verdict, evidenceTime } = input;
  requireTrusted(verdict, overHost);
  const oldest = Math.min(verdict.evidenceTime.getTime(), evidenceTime?.getTime() ?? Number.POSITIVE_INFINITY);
  return sign(input, new Date(oldest));
}

interface Leaf extends Omit<Issuing, 'verdict'> {
  readonly spiffeId: SpiffeId;
  readonly publicKey: Uint8Array;
  readonly dnsNames: readonly string[];
}

function sign(input: Leaf, evidenceTime: Date): X509Svid {
  const { authority, spiffeId, serial } = input;
  if (!SigningAuthority.is(authority)) throw refused('the authority is none that this program opened');
  if (!(spiffeId instanceof SpiffeId) || spiffeId.path === '') throw refused('an SVID names a SPIFFE ID with a path');
  if (!spiffeId.isMemberOf(authority.trustDomain)) throw refused(`${spiffeId} is of another trust domain`);
  if (serial.length !== SERIAL_BYTES || serial.every((byte) => byte === 0))
    throw refused('a serial is 16 random bytes');
  requirePublicKey(input.publicKey);
  const { notBefore, notAfter } = validity(input, evidenceTime);
  const certificate = authority.signLeaf({
    serial,
    subject: EMPTY_NAME,
    notBefore,
    notAfter,
    publicKey: input.publicKey,
    extensions: [
      LEAF_KEY_USAGE,
      LEAF_EXTENDED_KEY_USAGE,
      LEAF_CONSTRAINTS,
      alternativeNames(spiffeId.uri, input.dnsNames, true),
      subjectKeyIdentifier(keyIdentifier(input.publicKey)),
    ],
  });
  return { spiffeId, certificate, serialHex: toHex(serial).replace(/^(?:00)+/, ''), notBefore, notAfter };
}

/** The one gate: no verdict, no certificate. Also stops what only looks like a Verdict, and one over something else. */
function requireTrusted(verdict: unknown, overHost: boolean): asserts verdict is Verdict {
  if (Verdict.isVerdict(verdict) && verdict.trusted && (verdict.subject === HOST) === overHost) return;
  throw new LacreError('issuance.untrusted', 'there is no trusted verdict for this identity: nothing is issued');
}

/** From a little before now until `ttlSeconds` after the evidence, within the authority's own validity. */
function validity(input: Omit<Issuing, 'verdict'>, evidenceTime: Date): { notBefore: Date; notAfter: Date } {
  const { authority, now, ttlSeconds } = input;
  const evidence = evidenceTime.getTime();
  if (!Number.isInteger(ttlSeconds) || ttlSeconds <= 0)
    throw refused('a life is a whole number of seconds, above zero');
  if (!Number.isFinite(evidence) || evidence > now.getTime()) throw refused('the evidence has no time, or one to come');
  const end = Math.floor(Math.min(evidence + ttlSeconds * 1000, authority.notAfter.getTime()) / 1000) * 1000;
  const start = Math.max(now.getTime() - BACKDATE_MS, authority.notBefore.getTime());
  if (end <= now.getTime() || now < authority.notBefore) throw stale();
  return { notBefore: new Date(Math.floor(start / 1000) * 1000), notAfter: new Date(end) };
}

function stale(): LacreError {
  return new LacreError('issuance.stale', 'the evidence or the authority is too old: a newer quote is needed');
}

function refused(sentence: string): LacreError {
  return new LacreError('issuance.refused', sentence);
}
