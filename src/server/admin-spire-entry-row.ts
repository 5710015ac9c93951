import { create } from '@bufbuild/protobuf';
import { checkSelector } from '../appraisal/selector/selector.ts';
import { isReserved, SpiffeId } from '../identity/spiffe-id.ts';
import { TrustDomain } from '../identity/trust-domain.ts';
import { isDnsName } from '../issuance/dns-name.ts';
import { isLacreError, LacreError } from '../lacre-error.ts';
import { type Entry, type EntryMask, EntrySchema } from '../proto/spire/api/types/entry_pb.ts';
import type { Selector } from '../proto/spire/api/types/selector_pb.ts';
import type { SPIFFEID } from '../proto/spire/api/types/spiffeid_pb.ts';
import type { EntryRow, SelectorRow } from './store-entries.ts';

const MAX_ID = 255;
const MAX_HINT = 1024;
const MAX_SELECTORS = 256;
const MAX_SELECTOR_BYTES = 4096;
const MAX_DNS_NAMES = 64;
/** A day: an SVID that outlives its evidence by more is no proof of anything. */
const MAX_TTL_SECONDS = 86_400;

/** Fields of an entry that a caller may set: those of its mask. */
export type EntryFields = Omit<EntryRow, 'id' | 'revision' | 'createdAt'>;

type MaskedField = Exclude<keyof EntryMask, '$typeName' | '$unknown'>;

/**
 * Checks the fields of an entry that the mask names (all without one) by SPIRE's rules, and gives them as a row holds
 * them. What Lacre doesn't do (admin, downstream, SVID stores, federation) is refused rather than kept and passed over.
 * Codes: server.entry.invalid, server.entry.unsupported.
 */
export function entryFields(trustDomain: TrustDomain, entry: Entry, mask?: EntryMask): Partial<EntryFields> {
  const asked = (field: MaskedField): boolean => mask === undefined || mask[field];
  refuseUnsupported(entry, asked);
  const extra = entry.additionalAttributes;
  return {
    ...(asked('parentId') && { parentId: memberId(trustDomain, entry.parentId, 'invalid parent ID') }),
    ...(asked('spiffeId') && { spiffeId: workloadId(trustDomain, entry.spiffeId, 'invalid spiffe ID') }),
    ...(asked('selectors') && { selectors: entrySelectors(entry.selectors) }),
    ...(asked('x509SvidTtl') && { x509SvidTtl: ttl(entry.x509SvidTtl, 'X509SvidTtl') }),
    ...(asked('jwtSvidTtl') && { jwtSvidTtl: ttl(entry.jwtSvidTtl, 'JwtSvidTtl') }),
    ...(asked('federatesWith') && { federatesWith: [] }),
    ...(asked('admin') && { admin: false }),
    ...(asked('downstream') && { downstream: false }),
    ...(asked('expiresAt') && { expiresAt: seconds(entry.expiresAt) }),
    ...(asked('dnsNames') && { dnsNames: dnsNames(entry.dnsNames) }),
    ...(asked('storeSvid') && { storeSvid: false }),
    ...(asked('hint') && { hint: hint(entry.hint) }),
    ...(asked('additionalAttributes') && {
      additionalAttributes:
        extra === undefined
          ? undefined
          : { disableX509SvidPrefetch: extra.disableX509SvidPrefetch, jwtSvidIncludeJti: extra.jwtSvidIncludeJti },
    }),
  };
}

/** The id that a caller chose for a new entry; empty: none. Code: server.entry.invalid. */
export function entryId(id: string): string {
  if (id.length > MAX_ID) throw invalid('entry ID too long');
  if (!/^[A-Za-z0-9._-]*$/.test(id)) throw invalid('entry ID contains invalid characters');
  return id;
}

/** A SPIFFE ID of this trust domain that a workload may have. Code: server.entry.invalid. */
export function workloadId(trustDomain: TrustDomain, id: SPIFFEID | undefined, what: string): string {
  const parsed = memberSpiffeId(trustDomain, id, what);
  if (isReserved(parsed))
    throw invalid(`${what}: "${parsed}" is not a workload; its path is in the reserved namespace`);
  return parsed.uri;
}

/** Any SPIFFE ID with a path in this trust domain. Code: server.entry.invalid. */
export function memberId(trustDomain: TrustDomain, id: SPIFFEID | undefined, what: string): string {
  return memberSpiffeId(trustDomain, id, what).uri;
}

/** Selectors as SPIRE takes them; each once. Code: server.entry.invalid. */
export function entrySelectors(selectors: readonly Selector[]): SelectorRow[] {
  if (selectors.length === 0) throw invalid('selector list is empty');
  if (selectors.length > MAX_SELECTORS) throw invalid(`an entry has at most ${MAX_SELECTORS} selectors`);
  const known = new Map<string, SelectorRow>();
  for (const { type, value } of selectors) {
    if (type === '') throw invalid('missing selector type');
    if (type.includes(':')) throw invalid("selector type contains ':'");
    if (value === '') throw invalid('missing selector value');
    if (type.length + value.length > MAX_SELECTOR_BYTES)
      throw invalid(`a selector has at most ${MAX_SELECTOR_BYTES} characters`);
    requireMeaning({ type, value });
    known.set(`${type}:${value}`, { type, value });
  }
  return [...known.values()];
}

/** A lacre selector that nothing can fulfil is a slip of the pen: it would silently match nobody. */
function requireMeaning(selector: SelectorRow): void {
  try {
    checkSelector(selector);
  } catch (error) {
    if (!isLacreError(error)) throw error;
    throw invalid(error.message);
  }
}

/** The message of a row, with the fields of the mask (all without one). The id is always in it. */
export function entryMessage(row: EntryRow, mask?: EntryMask): Entry {
  const asked = (field: MaskedField): boolean => mask === undefined || mask[field];
  const extra = row.additionalAttributes;
  return create(EntrySchema, {
    id: row.id,
    ...(asked('spiffeId') && { spiffeId: idMessage(row.spiffeId) }),
    ...(asked('parentId') && { parentId: idMessage(row.parentId) }),
    ...(asked('selectors') && { selectors: row.selectors.map(({ type, value }) => ({ type, value })) }),
    ...(asked('x509SvidTtl') && { x509SvidTtl: row.x509SvidTtl }),
    ...(asked('federatesWith') && { federatesWith: [...row.federatesWith] }),
    ...(asked('admin') && { admin: row.admin }),
    ...(asked('downstream') && { downstream: row.downstream }),
    ...(asked('expiresAt') && { expiresAt: BigInt(row.expiresAt) }),
    ...(asked('dnsNames') && { dnsNames: [...row.dnsNames] }),
    ...(asked('revisionNumber') && { revisionNumber: BigInt(row.revision) }),
    ...(asked('storeSvid') && { storeSvid: row.storeSvid }),
    ...(asked('jwtSvidTtl') && { jwtSvidTtl: row.jwtSvidTtl }),
    ...(asked('hint') && { hint: row.hint }),
    ...(asked('createdAt') && { createdAt: BigInt(row.createdAt) }),
    ...(asked('additionalAttributes') && extra !== undefined && { additionalAttributes: extra }),
  });
}

/** A SPIFFE ID's two parts, as SPIRE's messages hold them. */
export function idMessage(uri: string): { trustDomain: string; path: string } {
  const { trustDomain, path } = SpiffeId.parse(uri);
  return { trustDomain: trustDomain.name, path };
}

function memberSpiffeId(trustDomain: TrustDomain, id: SPIFFEID | undefined, what: string): SpiffeId {
  if (id === undefined) throw invalid(`${what}: request must specify SPIFFE ID`);
  try {
    const parsed = SpiffeId.of(TrustDomain.parse(id.trustDomain), id.path);
    if (!parsed.isMemberOf(trustDomain)) throw invalid(`"${parsed}" is not a member of trust domain "${trustDomain}"`);
    if (parsed.path === '') throw invalid(`"${parsed}" has no path: only the trust domain itself is named so`);
    return parsed;
  } catch (error) {
    if (!isLacreError(error)) throw error;
    throw invalid(`${what}: ${error.message}`);
  }
}

function refuseUnsupported(entry: Entry, asked: (field: MaskedField) => boolean): void {
  const why: readonly [MaskedField, boolean, string][] = [
    ['admin', entry.admin, 'admin entries: the admin API has a unix socket only'],
    ['downstream', entry.downstream, 'downstream servers: a Lacre authority signs leaves only'],
    ['storeSvid', entry.storeSvid, 'SVID stores'],
    ['federatesWith', entry.federatesWith.length > 0, 'federation'],
  ];
  for (const [field, wanted, what] of why) {
    if (!asked(field) || !wanted) continue;
    throw new LacreError('server.entry.unsupported', `Lacre does not support ${what}`, { field });
  }
}

function ttl(value: number, what: string): number {
  if (value >= 0 && value <= MAX_TTL_SECONDS) return value;
  throw invalid(`${what} must be from 0 (the server's default) to ${MAX_TTL_SECONDS} seconds`);
}

function seconds(value: bigint): number {
  if (value < 0n || value > 253_402_300_799n) throw invalid('expires_at is no time between 1970 and 9999');
  return Number(value);
}

function dnsNames(names: readonly string[]): string[] {
  if (names.length > MAX_DNS_NAMES) throw invalid(`an entry has at most ${MAX_DNS_NAMES} DNS names`);
  const wrong = names.find((name) => !isDnsName(name));
  if (wrong !== undefined) throw invalid(`invalid DNS name: "${wrong.slice(0, 255)}"`);
  return [...names];
}

function hint(text: string): string {
  if (text.length > MAX_HINT) throw invalid(`hint is too long, max length is ${MAX_HINT} characters`);
  return text;
}

function invalid(sentence: string): LacreError {
  return new LacreError('server.entry.invalid', sentence);
}
