import { create, fromBinary } from '@bufbuild/protobuf';
import { LacreError } from '../lacre-error.ts';
import { type NodeInfo, type WorkloadInfo, WorkloadInfoSchema } from '../proto/lacre/v1/admin_pb.ts';
import { VerdictSchema } from '../proto/lacre/v1/verdict_pb.ts';
import { mustNode, nodeInfo } from './admin-lacre-nodes.ts';
import type { ServerDeps } from './server-deps.ts';
import type { SerialRow, WorkloadRow } from './store-evidence.ts';
import type { NodeRow } from './store-nodes.ts';

/** @param subject name, SPIFFE ID or EK hash of a node; empty: all nodes. */
export function listWorkloads(deps: ServerDeps, subject: string): { workloads: WorkloadInfo[] } {
  const node = subject === '' ? undefined : mustNode(deps, subject);
  return { workloads: workloadsOf(deps, node) };
}

/**
 * Everything that is known of a subject: a container by id (or 4 and more digits of its beginning) or name, a workload
 * by a SPIFFE ID that it holds or held, a node by name, SPIFFE ID or EK hash.
 * Codes: server.subject.missing.
 */
export function why(deps: ServerDeps, subject: string): { workloads: WorkloadInfo[]; nodes: NodeInfo[] } {
  if (subject === '' || subject.length > 2048) throw missing(subject);
  const nodes = deps.store.nodes.find(subject).map(nodeInfo);
  const holders = containersOf(deps, subject);
  const workloads = workloadsOf(deps, undefined).filter(
    ({ containerId, containerName, spiffeIds }) =>
      containerName === subject ||
      (subject.length >= 4 && containerId.startsWith(subject)) ||
      spiffeIds.includes(subject) ||
      holders.has(containerId),
  );
  if (nodes.length === 0 && workloads.length === 0) throw missing(subject);
  return { workloads, nodes };
}

/** Containers that hold this SPIFFE ID, or held one that was withdrawn before it ended. */
function containersOf(deps: ServerDeps, spiffeId: string): Set<string> {
  const now = deps.clock.now();
  const { evidence } = deps.store;
  const serials = [...evidence.activeSerials(now), ...evidence.withdrawnSerials(now)];
  return new Set(serials.filter((serial) => serial.spiffeId === spiffeId).map((serial) => serial.containerId));
}

function workloadsOf(deps: ServerDeps, node: NodeRow | undefined): WorkloadInfo[] {
  const { nodes, evidence } = deps.store;
  const names = new Map(nodes.list().map((row) => [row.ekSha256Hex, row.spiffeId]));
  const active = Map.groupBy(evidence.activeSerials(deps.clock.now(), node?.ekSha256Hex), keyOf);
  return evidence
    .workloads(node?.ekSha256Hex)
    .map((row) => workloadInfo(row, names.get(row.ekSha256Hex) ?? '', active.get(keyOf(row)) ?? []));
}

function workloadInfo(row: WorkloadRow, node: string, serials: readonly SerialRow[]): WorkloadInfo {
  const expires = serials.map(({ expiresAt }) => expiresAt.getTime());
  return create(WorkloadInfoSchema, {
    containerId: row.containerId,
    containerName: row.containerName,
    node,
    imageName: row.imageName,
    manifestDigest: row.manifestDigest,
    spiffeIds: [...new Set(serials.map(({ spiffeId }) => spiffeId))].sort(),
    verdict: fromBinary(VerdictSchema, row.verdict),
    attribution: row.attribution,
    running: row.running,
    svidExpiresAtUnixMs: BigInt(expires.length === 0 ? 0 : Math.max(...expires)),
    withdrawnAtUnixMs: BigInt(row.withdrawnAt?.getTime() ?? 0),
  });
}

function keyOf({ ekSha256Hex, containerId }: { readonly ekSha256Hex: string; readonly containerId: string }): string {
  return `${ekSha256Hex} ${containerId}`;
}

function missing(subject: string): LacreError {
  return new LacreError(
    'server.subject.missing',
    `no container, workload or node is known as ${subject.slice(0, 128) || 'nothing'}`,
  );
}
