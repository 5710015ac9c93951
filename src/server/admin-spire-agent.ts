import { create } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import { LacreError } from '../lacre-error.ts';
import type { Agent as AgentService, ListAgentsRequest_Filter } from '../proto/spire/api/server/agent/v1/agent_pb.ts';
import { type Agent, type AgentMask, AgentSchema } from '../proto/spire/api/types/agent_pb.ts';
import type { SPIFFEID } from '../proto/spire/api/types/spiffeid_pb.ts';
import { matchOf } from './admin-spire-entry.ts';
import { entrySelectors, idMessage, memberId } from './admin-spire-entry-row.ts';
import { answered } from './admin-spire-status.ts';
import type { ServerDeps } from './server-deps.ts';
import type { SelectorRow, SetMatch } from './store-entries.ts';
import type { NodeRow } from './store-nodes.ts';

const ATTESTATION_TYPE = 'lacre_tpm';

/**
 * spire.api.server.agent.v1.Agent over the inventory: an agent is a node that has enrolled. Deleting one makes its
 * node enrol anew; only `lacre node` takes it out of the inventory.
 */
export function agentService(deps: ServerDeps): ServiceImpl<typeof AgentService> {
  const { store } = deps;
  const listed = (filter: Omit<ListAgentsRequest_Filter, '$typeName'> | undefined): NodeRow[] =>
    store.nodes.list().filter(isAgent).filter(nodeFilter(filter));
  return {
    countAgents: (request) => answered(() => ({ count: listed(request.filter).length })),
    listAgents: (request) =>
      answered(() => {
        const nodes = listed(request.filter).sort((a, b) => (a.spiffeId < b.spiffeId ? -1 : 1));
        const rest = nodes.filter(({ spiffeId }) => spiffeId > request.pageToken);
        const page = request.pageSize > 0 ? rest.slice(0, request.pageSize) : rest;
        const last = page.length < rest.length ? page.at(-1) : undefined;
        return {
          agents: page.map((node) => agentMessage(node, request.outputMask)),
          nextPageToken: last?.spiffeId ?? '',
        };
      }),
    getAgent: (request) => answered(() => agentMessage(mustAgent(deps, request.id), request.outputMask)),
    deleteAgent: (request) =>
      answered(() => {
        const node = mustAgent(deps, request.id);
        evict(deps, node.ekSha256Hex, {
          state: 'expected',
          akPublic: undefined,
          akNameHex: '',
          certificateSerialHex: '',
          certificateExpiresAt: undefined,
        });
        return {};
      }),
    banAgent: (request) =>
      answered(() => {
        const node = mustAgent(deps, request.id);
        evict(deps, node.ekSha256Hex, { banned: true });
        return {};
      }),
  };
}

/** Changes a node and withdraws all that was issued to it and to its workloads, at once; then its session is told. */
function evict(
  deps: ServerDeps,
  ekSha256Hex: string,
  change: Parameters<ServerDeps['store']['nodes']['update']>[1],
): void {
  deps.store.transaction(() => {
    deps.store.nodes.update(ekSha256Hex, change);
    deps.store.nodes.nextFence(ekSha256Hex);
    deps.store.evidence.withdrawNode(ekSha256Hex, deps.clock.now(), true);
  });
  deps.events.emit('nodeChanged', ekSha256Hex);
}

function isAgent(node: NodeRow): boolean {
  return node.state !== 'expected' && node.state !== 'parked';
}

function mustAgent(deps: ServerDeps, id: SPIFFEID | undefined): NodeRow {
  const spiffeId = memberId(deps.config.trustDomain, id, 'invalid agent ID');
  const node = deps.store.nodes.bySpiffeId(spiffeId);
  if (node === undefined || !isAgent(node)) throw new LacreError('server.node.missing', 'agent not found');
  return node;
}

/** What the inventory knows of a node, as `agent show` lists it. Aliases match on `lacre:` selectors (docs/divergences.md). */
export function nodeSelectors(node: NodeRow): SelectorRow[] {
  const selectors = [{ type: ATTESTATION_TYPE, value: `ek:sha256:${node.ekSha256Hex}` }];
  if (node.rootOfTrust !== '') selectors.push({ type: ATTESTATION_TYPE, value: `root:${node.rootOfTrust}` });
  if (node.name !== '') selectors.push({ type: ATTESTATION_TYPE, value: `name:${node.name}` });
  if (node.hostReference !== '') selectors.push({ type: ATTESTATION_TYPE, value: `host:${node.hostReference}` });
  return selectors;
}

function agentMessage(node: NodeRow, mask: AgentMask | undefined): Agent {
  const asked = (field: Exclude<keyof AgentMask, '$typeName' | '$unknown'>): boolean =>
    mask === undefined || mask[field];
  const serial = node.certificateSerialHex === '' ? '' : BigInt(`0x${node.certificateSerialHex}`).toString();
  return create(AgentSchema, {
    id: idMessage(node.spiffeId),
    ...(asked('attestationType') && { attestationType: ATTESTATION_TYPE }),
    ...(asked('x509svidSerialNumber') && { x509svidSerialNumber: serial }),
    ...(asked('x509svidExpiresAt') && { x509svidExpiresAt: BigInt(unixSeconds(node.certificateExpiresAt)) }),
    ...(asked('selectors') && { selectors: nodeSelectors(node) }),
    ...(asked('banned') && { banned: node.banned }),
    ...(asked('canReattest') && { canReattest: true }),
    ...(asked('agentVersion') && { agentVersion: node.agentVersion }),
  });
}

function nodeFilter(filter: Omit<ListAgentsRequest_Filter, '$typeName'> | undefined): (node: NodeRow) => boolean {
  if (filter === undefined) return () => true;
  const { byAttestationType, byBanned, byCanReattest, byExpiresBefore, bySelectorMatch } = filter;
  const wanted = bySelectorMatch === undefined ? undefined : entrySelectors(bySelectorMatch.selectors);
  const match = matchOf(bySelectorMatch?.match ?? 0);
  const before = byExpiresBefore === '' ? undefined : goTime(byExpiresBefore);
  return (node) =>
    (byAttestationType === '' || byAttestationType === ATTESTATION_TYPE) &&
    (byBanned === undefined || byBanned === node.banned) &&
    (byCanReattest === undefined || byCanReattest) &&
    (before === undefined || (node.certificateExpiresAt !== undefined && node.certificateExpiresAt < before)) &&
    (wanted === undefined || setsMatch(nodeSelectors(node), wanted, match));
}

function setsMatch(have: readonly SelectorRow[], wanted: readonly SelectorRow[], match: SetMatch): boolean {
  const key = ({ type, value }: SelectorRow): string => `${type}:${value}`;
  const wantedKeys = new Set(wanted.map(key));
  const haveKeys = new Set(have.map(key));
  const common = [...haveKeys].filter((one) => wantedKeys.has(one)).length;
  if (match === 'any') return common > 0;
  if (match === 'superset') return common === wantedKeys.size;
  return common === haveKeys.size && (match === 'subset' || common === wantedKeys.size);
}

/** Go's "2006-01-02 15:04:05 -0700 -07", as SPIRE's command line sends it. */
function goTime(text: string): Date {
  const match = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d) ([+-]\d\d)(\d\d)(?: \S+)?$/.exec(text);
  const time = match === null ? new Date(Number.NaN) : new Date(`${match[1]}T${match[2]}${match[3]}:${match[4]}`);
  if (Number.isNaN(time.getTime())) {
    throw new LacreError('server.entry.invalid', 'the time of the filter is not as "2026-01-31 12:00:00 +0000 +00"');
  }
  return time;
}

function unixSeconds(time: Date | undefined): number {
  return time === undefined ? 0 : Math.floor(time.getTime() / 1000);
}
