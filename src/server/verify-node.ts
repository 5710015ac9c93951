import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import type { HandlerContext, ServiceImpl } from '@connectrpc/connect';
import { nodeSelectors } from '../appraisal/selector/match-entries.ts';
import { type Verdict, verdictMessage } from '../appraisal/verdict.ts';
import { LacreError } from '../lacre-error.ts';
import type { EnrolEvidence, EnrolRequest } from '../proto/lacre/v1/node_pb.ts';
import { type NodeVerifier, type VerifyNodeResponse, VerifyNodeResponseSchema } from '../proto/lacre/v1/spire_pb.ts';
import { VerdictSchema } from '../proto/lacre/v1/verdict_pb.ts';
import { parseQuote } from '../tpm/attest.ts';
import { spireExporter } from '../tpm/qualifying-data.ts';
import { admittedState, appraise, challengeOf, credentialOf, nextStep, receiveEvidence } from './enrolment.ts';
import { type EnrolmentClaim, requireInventory, verifyNodeKeys } from './enrolment-claim.ts';
import { EnrolmentGate } from './enrolment-gate.ts';
import { readEndorsementRoots } from './enrolment-roots.ts';
import { type ClockPoint, requireSameEpoch } from './epoch.ts';
import { tell } from './events.ts';
import { LIMITS } from './limits.ts';
import type { NodeState } from './node-state.ts';
import type { ServerDeps } from './server-deps.ts';
import { nodeLabel } from './session-context.ts';
import { statusOf } from './session-status.ts';

/** What was verified of a node: its next attestation goes on from there. */
interface VerifiedNode {
  readonly state: NodeState;
  readonly point: ClockPoint;
}

/** Nodes whose list is held in memory; the one that was asked for longest ago is forgotten first. */
const KEPT_NODES = 64;

/** VerifyNode of lacre.v1.NodeVerifier: the same verifier, policy and inventory as for Lacre's own agents. */
export function nodeVerification(deps: ServerDeps): ServiceImpl<typeof NodeVerifier>['verifyNode'] {
  const roots = readEndorsementRoots(deps.config.endorsement.roots);
  const gate = new EnrolmentGate(roots, Math.min(deps.config.limits.concurrentEnrolments, LIMITS.enrolments));
  const kept = new Map<string, VerifiedNode>();
  // Other reference values: over the whole list.
  deps.events.on('referencesChanged', ({ host }) => host !== undefined && kept.clear());
  deps.events.on('nodeChanged', (ekSha256Hex) => kept.delete(ekSha256Hex));
  return (requests, context) => verifyNode(deps, gate, kept, requests, context);
}

/**
 * An EK of the inventory proves that an attestation key lives beside it, and that the host is as approved. Who gets the
 * answer is SPIRE's to know: no CSR and no connection is bound.
 */
async function* verifyNode(
  deps: ServerDeps,
  gate: EnrolmentGate,
  kept: Map<string, VerifiedNode>,
  requests: AsyncIterable<EnrolRequest>,
  context: HandlerContext,
): AsyncGenerator<VerifyNodeResponse> {
  let leave: (() => void) | undefined;
  try {
    const deadline = performance.now() + LIMITS.enrolmentMs;
    const incoming = requests[Symbol.asyncIterator]();
    const hello = await nextStep(incoming, 'hello', performance.now() + LIMITS.helloMs);
    if (hello.csr.length > 0) throw new LacreError('server.protocol', 'a node of SPIRE sends no certificate request');
    const node = requireInventory(deps, gate, hello);
    leave = gate.enter(node.ekSha256Hex);
    const claim = verifyNodeKeys(deps, gate.roots, node, hello);
    const known = takeKnown(kept, claim);
    const challenge = challengeOf(deps);
    yield response({
      case: 'challenge',
      value: {
        challenge: { ...credentialOf(claim, challenge), nonce: challenge.nonce },
        resumeOffset: BigInt(known?.state.byteLength ?? 0),
      },
    });
    const { state, evidence } = await receiveEvidence(deps, claim, incoming, deadline, known?.state);
    const host = await appraise(deps, claim, challenge, hello, spireExporter(challenge.nonce), state, evidence);
    const point = pointOf(claim, evidence);
    if (known?.state === state) requireSameEpoch(known.point, point);
    admit(deps, claim, host, state, hello.agentVersion);
    keep(kept, node.ekSha256Hex, { state, point });
    const selectors = nodeSelectors(host, claim.node);
    yield response({ case: 'result', value: { spiffeId: node.spiffeId, selectors, host: verdictMessage(host) } });
  } catch (error) {
    if (error instanceof LacreError)
      deps.log.warn({ code: error.code, ...error.details }, `SPIRE's node: ${error.message}`);
    else if (!context.signal.aborted) deps.log.error({ err: error }, "the verification of SPIRE's node failed");
    throw statusOf(error);
  } finally {
    leave?.();
  }
}

/** Known is what the same attestation key proved; it is given back only once it is proven anew. */
function takeKnown(
  kept: Map<string, VerifiedNode>,
  { node, key }: Pick<EnrolmentClaim, 'node' | 'key'>,
): VerifiedNode | undefined {
  const known = kept.get(node.ekSha256Hex);
  kept.delete(node.ekSha256Hex);
  return known?.point.akNameHex === key.nameHex ? known : undefined;
}

function keep(kept: Map<string, VerifiedNode>, ekSha256Hex: string, node: VerifiedNode): void {
  const [oldest] = kept.keys();
  if (kept.size >= KEPT_NODES && oldest !== undefined) kept.delete(oldest);
  kept.set(ekSha256Hex, node);
}

/** The clock of evidence that `appraise` has verified. */
function pointOf({ key }: Pick<EnrolmentClaim, 'key'>, evidence: EnrolEvidence): ClockPoint {
  const { clock } = parseQuote(evidence.attest);
  return { akNameHex: key.nameHex, ...clock };
}

function admit(
  deps: ServerDeps,
  { node, endorsement }: Pick<EnrolmentClaim, 'node' | 'endorsement'>,
  host: Verdict,
  state: NodeState,
  agentVersion: string,
): void {
  const verdict = verdictMessage(host);
  deps.store.transaction(() => {
    deps.store.nodes.update(node.ekSha256Hex, {
      state: admittedState(deps, node.ekSha256Hex),
      rootOfTrust: endorsement.rootOfTrust,
      agentVersion,
      kernel: state.kernel,
      hostVerdict: toBinary(VerdictSchema, verdict),
    });
  });
  const sentence = `node ${nodeLabel(node)} attested to SPIRE (${endorsement.rootOfTrust})`;
  tell(deps, { kind: 'node', node: node.spiffeId, verdict, sentence });
}

function response(step: MessageInitShape<typeof VerifyNodeResponseSchema>['step']): VerifyNodeResponse {
  return create(VerifyNodeResponseSchema, { step: step ?? { case: undefined } });
}
