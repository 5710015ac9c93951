import { create, fromBinary } from '@bufbuild/protobuf';
import { agentSpiffeId } from '../identity/spiffe-id.ts';
import { LacreError } from '../lacre-error.ts';
import { type AddNodeRequest, type NodeInfo, NodeInfoSchema } from '../proto/lacre/v1/admin_pb.ts';
import { VerdictSchema } from '../proto/lacre/v1/verdict_pb.ts';
import { certificateSpki } from '../tpm/certificate.ts';
import { ekSha256Hex } from '../tpm/endorsement.ts';
import { tell } from './events.ts';
import { LIMITS } from './limits.ts';
import type { ServerDeps } from './server-deps.ts';
import type { NodeRow } from './store-nodes.ts';

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

/**
 * Puts a node into the inventory, by the hash of its EK or by its EK certificate (whose chain is looked at when the
 * node enrols, not here). Codes: server.reference.invalid, server.subject.missing, server.node.exists, tpm.*.
 */
export function addNode(deps: ServerDeps, request: AddNodeRequest): NodeInfo {
  const ek = ekOf(request);
  const { name, host } = request;
  if (name !== '' && (!NAME.test(name) || /^[0-9a-f]{4,64}$/.test(name))) {
    throw invalid(
      'a name of a node has up to 63 letters, digits, dots, dashes and underscores, and is no beginning of an EK hash',
    );
  }
  if (host !== '' && deps.store.hosts.get(host) === undefined) {
    throw new LacreError('server.subject.missing', `no host reference values are called ${host}: lacre host approve`);
  }
  const spiffeId = agentSpiffeId(deps.config.trustDomain, ek).uri;
  const node = deps.store.nodes.add({ ekSha256Hex: ek, spiffeId, name, hostReference: host }, deps.clock.now());
  deps.events.emit('nodeChanged', ek);
  tell(deps, { kind: 'node', node: spiffeId, sentence: `node ${name || spiffeId} is in the inventory` });
  return nodeInfo(node);
}

export function listNodes(deps: ServerDeps): { nodes: NodeInfo[] } {
  return { nodes: deps.store.nodes.list().map(nodeInfo) };
}

export function getNode(deps: ServerDeps, subject: string): NodeInfo {
  return nodeInfo(mustNode(deps, subject));
}

/** Takes a node out of the inventory: all that was issued on it is withdrawn first, in the same transaction. */
export function deleteNode(deps: ServerDeps, subject: string): Record<never, never> {
  const node = mustNode(deps, subject);
  const { ekSha256Hex, spiffeId, name } = node;
  deps.store.transaction(() => {
    deps.store.evidence.withdrawNode(ekSha256Hex, deps.clock.now(), true);
    deps.store.nodes.remove(ekSha256Hex);
  });
  deps.events.emit('nodeChanged', ekSha256Hex);
  tell(deps, { kind: 'node', node: spiffeId, sentence: `node ${name || spiffeId} was taken out of the inventory` });
  return {};
}

/** Codes: server.node.missing, server.subject.ambiguous. */
export function mustNode(deps: ServerDeps, subject: string): NodeRow {
  const found = deps.store.nodes.find(subject);
  const exact = found.find(({ name, spiffeId, ekSha256Hex }) => [name, spiffeId, ekSha256Hex].includes(subject));
  const [only, ...others] = found;
  if (exact !== undefined) return exact;
  if (only === undefined) throw new LacreError('server.node.missing', `no node is called ${subject.slice(0, 128)}`);
  if (others.length > 0) {
    throw new LacreError(
      'server.subject.ambiguous',
      `${found.length} nodes have an EK hash that begins with ${subject}`,
    );
  }
  return only;
}

export function nodeInfo(node: NodeRow): NodeInfo {
  return create(NodeInfoSchema, {
    ekSha256: node.ekSha256Hex,
    name: node.name,
    spiffeId: node.spiffeId,
    state: node.banned ? 'banned' : node.state,
    rootOfTrust: node.rootOfTrust,
    kernel: node.kernel,
    verifiedEntries: BigInt(node.verifiedEntries),
    lastEvidenceUnixMs: BigInt(node.lastEvidenceAt?.getTime() ?? 0),
    agentVersion: node.agentVersion,
    ...(node.hostVerdict === undefined ? {} : { host: fromBinary(VerdictSchema, node.hostVerdict) }),
    hostReference: node.hostReference,
    resetCount: BigInt(node.resetCount),
  });
}

function ekOf({ ekSha256, ekCertificate }: AddNodeRequest): string {
  const hash = ekSha256.toLowerCase();
  if (ekCertificate.length > LIMITS.certificateBytes) throw invalid('the EK certificate is longer than any is');
  const ofCertificate = ekCertificate.length === 0 ? undefined : ekSha256Hex(certificateSpki(ekCertificate));
  if (hash === '' && ofCertificate === undefined) throw invalid("the EK's SHA-256 or its certificate is needed");
  if (hash !== '' && !/^[0-9a-f]{64}$/.test(hash)) throw invalid("the EK's SHA-256 has 64 hexadecimal digits");
  if (hash !== '' && ofCertificate !== undefined && hash !== ofCertificate) {
    throw invalid(`the certificate is for another EK than the hash says: ${ofCertificate}`);
  }
  return ofCertificate ?? hash;
}

function invalid(sentence: string): LacreError {
  return new LacreError('server.reference.invalid', sentence);
}
