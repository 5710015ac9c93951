import { fromBinary } from '@bufbuild/protobuf';
import { VerdictSchema } from '../proto/lacre/v1/verdict_pb.ts';
import { tell } from './events.ts';
import type { ServerDeps } from './server-deps.ts';
import type { NodeRow } from './store-nodes.ts';

/**
 * Identities whose SPIFFE ID no entry has any more are withdrawn, on whatever node they were issued: a session looks
 * at those that it holds itself, with everything else that an entry asks.
 */
export function withdrawWithoutEntry(deps: ServerDeps): void {
  const { store } = deps;
  const now = deps.clock.now();
  const entitled = new Set(store.entries.list().map(({ spiffeId }) => spiffeId));
  const lost = store.evidence
    .activeSerials(now)
    .filter(({ containerId, spiffeId }) => containerId !== '' && !entitled.has(spiffeId));
  if (lost.length === 0) return;
  store.evidence.withdrawSerials(
    lost.map(({ serialHex }) => serialHex),
    now,
  );
  for (const spiffeId of new Set(lost.map((serial) => serial.spiffeId))) {
    tell(deps, { kind: 'withdrawn', spiffeId, sentence: `${spiffeId} is withdrawn: it has no registration entry` });
  }
}

/** What was issued to containers of an image that is approved no longer, on nodes that are not connected. */
export function withdrawImage(deps: ServerDeps, manifestDigest: string, isConnected: (ek: string) => boolean): void {
  const { store } = deps;
  if (store.images.get(manifestDigest) !== undefined) return;
  const now = deps.clock.now();
  for (const { ekSha256Hex, containerId, containerName, ...workload } of store.evidence.workloads()) {
    if (workload.manifestDigest !== manifestDigest || isConnected(ekSha256Hex)) continue;
    if (store.evidence.withdraw(ekSha256Hex, containerId, now).length === 0) continue;
    const sentence = `the identities of ${containerName || containerId} are withdrawn: its image is approved no longer`;
    tell(deps, { kind: 'withdrawn', containerId, containerName, sentence });
  }
}

/** What was issued on hosts that were trusted by reference values which are approved no longer, where not connected. */
export function withdrawHost(deps: ServerDeps, name: string, isConnected: (ek: string) => boolean): void {
  const { store } = deps;
  if (store.hosts.get(name) !== undefined) return;
  for (const node of store.nodes.list()) {
    if (isConnected(node.ekSha256Hex) || !trustedBy(node, name)) continue;
    if (store.evidence.withdrawNode(node.ekSha256Hex, deps.clock.now(), true).length === 0) continue;
    const sentence = `every identity on node ${node.name || node.spiffeId} is withdrawn: host reference values ${name} are approved no longer`;
    tell(deps, { kind: 'withdrawn', node: node.spiffeId, sentence });
  }
}

function trustedBy({ hostVerdict }: NodeRow, name: string): boolean {
  return (
    hostVerdict !== undefined &&
    fromBinary(VerdictSchema, hostVerdict).selectors.includes(`lacre:host-reference:${name}`)
  );
}
