import { randomUUID } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { Code, type ServiceImpl } from '@connectrpc/connect';
import { TrustDomain } from '../identity/trust-domain.ts';
import { LacreError } from '../lacre-error.ts';
import {
  type BatchCreateEntryResponse_Result,
  BatchCreateEntryResponse_ResultSchema,
  type BatchUpdateEntryResponse_Result,
  BatchUpdateEntryResponse_ResultSchema,
  type Entry as EntryService,
  type ListEntriesRequest_Filter,
} from '../proto/spire/api/server/entry/v1/entry_pb.ts';
import type { Entry, EntryMask } from '../proto/spire/api/types/entry_pb.ts';
import { entryFields, entryId, entryMessage, entrySelectors, memberId, workloadId } from './admin-spire-entry-row.ts';
import { answered, ITEM_OK, type ItemStatus, itemFault, itemStatus } from './admin-spire-status.ts';
import type { ServerDeps } from './server-deps.ts';
import { statusOf } from './session-status.ts';
import type { EntryFilter, EntryRow, SetMatch } from './store-entries.ts';

/** In the order of SPIRE's MatchBehavior. */
const MATCHES: readonly SetMatch[] = ['exact', 'subset', 'superset', 'any'];
const MAX_BATCH = 10_000;
const AGENTS_ONLY = 'is for SPIRE agents; a Lacre agent gets its identities on evidence, by lacre.v1.Node';

/** spire.api.server.entry.v1.Entry over the store: what SPIRE's own command line and its controller manager speak. */
export function entryService(deps: ServerDeps): ServiceImpl<typeof EntryService> {
  const { store, config, events } = deps;
  const { trustDomain } = config;
  const changed = <T extends { status?: ItemStatus | undefined }>(results: T[]): T[] => {
    if (results.some(({ status }) => status?.code === 0)) events.emit('entriesChanged');
    return results;
  };
  return {
    countEntries: (request) => answered(() => ({ count: store.entries.count(filterOf(trustDomain, request.filter)) })),
    listEntries: (request) =>
      answered(() => {
        const filter = filterOf(trustDomain, request.filter);
        if (request.pageSize <= 0) {
          return { entries: store.entries.list(filter).map((row) => entryMessage(row, request.outputMask)) };
        }
        if (!/^\d{0,15}$/.test(request.pageToken)) throw invalid('malformed page token');
        const page = store.entries.page(filter, request.pageSize, request.pageToken);
        return {
          entries: page.entries.map((row) => entryMessage(row, request.outputMask)),
          nextPageToken: page.nextToken,
        };
      }),
    getEntry: (request) =>
      answered(() => {
        if (request.id === '') throw invalid('missing ID');
        const row = store.entries.get(request.id);
        if (row === undefined) throw new LacreError('server.entry.missing', 'entry not found');
        return entryMessage(row, request.outputMask);
      }),
    batchCreateEntry: (request) =>
      answered(() => {
        requireBatch(request.entries.length);
        return { results: changed(request.entries.map((entry) => createEntry(deps, entry, request.outputMask))) };
      }),
    batchUpdateEntry: (request) =>
      answered(() => {
        requireBatch(request.entries.length);
        const update = (entry: Entry) => updateEntry(deps, entry, request.inputMask, request.outputMask);
        return { results: changed(request.entries.map(update)) };
      }),
    batchDeleteEntry: (request) =>
      answered(() => {
        requireBatch(request.ids.length);
        return { results: changed(request.ids.map((id) => ({ id, status: deleteEntry(deps, id) }))) };
      }),
    getAuthorizedEntries: () =>
      answered(() => {
        throw new LacreError('server.entry.unsupported', `GetAuthorizedEntries ${AGENTS_ONLY}`);
      }),
    syncAuthorizedEntries: () => {
      throw statusOf(new LacreError('server.entry.unsupported', `SyncAuthorizedEntries ${AGENTS_ONLY}`));
    },
  };
}

function createEntry(deps: ServerDeps, entry: Entry, mask: EntryMask | undefined): BatchCreateEntryResponse_Result {
  const result = (status: ItemStatus, row?: EntryRow): BatchCreateEntryResponse_Result =>
    create(BatchCreateEntryResponse_ResultSchema, {
      status,
      ...(row !== undefined && { entry: entryMessage(row, mask) }),
    });
  try {
    const { store, config, clock } = deps;
    const id = entryId(entry.id);
    const fields = { ...NO_FIELDS, ...entryFields(config.trustDomain, entry) };
    return store.transaction(() => {
      const known = store.entries.similar(fields) ?? (id === '' ? undefined : store.entries.get(id));
      if (known !== undefined) return result(itemStatus(Code.AlreadyExists, 'similar entry already exists'), known);
      const createdAt = Math.floor(clock.now().getTime() / 1000);
      const row = { ...fields, id: id === '' ? randomUUID() : id, revision: 0, createdAt };
      store.entries.put(row);
      return result(ITEM_OK, store.entries.get(row.id));
    });
  } catch (error) {
    return result(itemFault('failed to create entry', error));
  }
}

const NO_FIELDS: Omit<EntryRow, 'id' | 'revision' | 'createdAt'> = {
  spiffeId: '',
  parentId: '',
  selectors: [],
  x509SvidTtl: 0,
  jwtSvidTtl: 0,
  federatesWith: [],
  admin: false,
  downstream: false,
  expiresAt: 0,
  dnsNames: [],
  storeSvid: false,
  hint: '',
  additionalAttributes: undefined,
};

function updateEntry(
  deps: ServerDeps,
  entry: Entry,
  inputMask: EntryMask | undefined,
  outputMask: EntryMask | undefined,
): BatchUpdateEntryResponse_Result {
  const result = (status: ItemStatus, row?: EntryRow): BatchUpdateEntryResponse_Result =>
    create(BatchUpdateEntryResponse_ResultSchema, {
      status,
      ...(row !== undefined && { entry: entryMessage(row, outputMask) }),
    });
  try {
    const { store, config } = deps;
    const fields = entryFields(config.trustDomain, entry, inputMask);
    return store.transaction(() => {
      const known = store.entries.get(entry.id);
      if (known === undefined) return result(itemStatus(Code.NotFound, 'failed to update entry: entry not found'));
      const row = { ...known, ...fields, revision: known.revision + 1 };
      const similar = store.entries.similar(row);
      if (similar !== undefined && similar.id !== row.id) {
        return result(itemStatus(Code.AlreadyExists, 'failed to update entry: similar entry already exists'), similar);
      }
      store.entries.put(row);
      return result(ITEM_OK, store.entries.get(row.id));
    });
  } catch (error) {
    return result(itemFault('failed to update entry', error));
  }
}

function deleteEntry(deps: ServerDeps, id: string): ItemStatus {
  try {
    if (id === '') return itemStatus(Code.InvalidArgument, 'missing entry ID');
    return deps.store.entries.remove(id) ? ITEM_OK : itemStatus(Code.NotFound, 'entry not found');
  } catch (error) {
    return itemFault('failed to delete entry', error);
  }
}

function filterOf(
  trustDomain: TrustDomain,
  filter: Omit<ListEntriesRequest_Filter, '$typeName'> | undefined,
): EntryFilter {
  if (filter === undefined) return {};
  const { byParentId, bySpiffeId, bySelectors, byFederatesWith, byHint, byDownstream } = filter;
  return {
    ...(byParentId !== undefined && { parentId: memberId(trustDomain, byParentId, 'malformed parent ID filter') }),
    ...(bySpiffeId !== undefined && { spiffeId: workloadId(trustDomain, bySpiffeId, 'malformed SPIFFE ID filter') }),
    ...(bySelectors !== undefined && {
      selectors: { values: entrySelectors(bySelectors.selectors), match: matchOf(bySelectors.match) },
    }),
    ...(byFederatesWith !== undefined && {
      federatesWith: { values: trustDomains(byFederatesWith.trustDomains), match: matchOf(byFederatesWith.match) },
    }),
    ...(byHint !== undefined && byHint !== '' && { hint: byHint }),
    ...(byDownstream !== undefined && { downstream: byDownstream }),
  };
}

function trustDomains(names: readonly string[]): string[] {
  if (names.length === 0) throw invalid('malformed federates with filter: empty trust domain set');
  return names.map((name) => TrustDomain.parse(name.replace(/^spiffe:\/\//, '')).name);
}

/** One of SPIRE's four ways to match; an unknown number is refused. */
export function matchOf(match: number): SetMatch {
  const known = MATCHES[match];
  if (known === undefined) throw invalid('unknown way to match');
  return known;
}

function requireBatch(length: number): void {
  if (length > MAX_BATCH) throw invalid(`a batch has at most ${MAX_BATCH} items`);
}

function invalid(sentence: string): LacreError {
  return new LacreError('server.entry.invalid', sentence);
}
