import { randomBytes } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { type Verdict, verdictMessage } from '../appraisal/verdict.ts';
import { ByteWriter } from '../bytes/byte-writer.ts';
import { issueAgentSvid } from '../issuance/x509-svid.ts';
import { LacreError } from '../lacre-error.ts';
import {
  type EnrolEvidence,
  type EnrolHello,
  type EnrolRequest,
  type EnrolResponse,
  EnrolResponseSchema,
} from '../proto/lacre/v1/node_pb.ts';
import { VerdictSchema } from '../proto/lacre/v1/verdict_pb.ts';
import { makeCredential } from '../tpm/credential.ts';
import { requireEndorsementChild } from '../tpm/qualified-name.ts';
import { enrolmentExtraData } from '../tpm/qualifying-data.ts';
import { verifyQuote } from '../tpm/quote.ts';
import { type EnrolmentClaim, requireInventory, verifyClaim } from './enrolment-claim.ts';
import type { EnrolmentGate } from './enrolment-gate.ts';
import { tell } from './events.ts';
import { freshSerial } from './fresh-serial.ts';
import { LIMITS } from './limits.ts';
import { PEER } from './node-listener-peer.ts';
import { NodeState } from './node-state.ts';
import type { ServerDeps } from './server-deps.ts';
import { withTimeout } from './session.ts';
import { nodeLabel } from './session-context.ts';
import { nextMessage, RefusedError, statusOf } from './session-status.ts';

/** What the server keeps of one enrolment between challenge and evidence. */
export interface Challenge {
  readonly nonce: Uint8Array;
  readonly secret: Uint8Array;
  readonly madeAt: Date;
}

/**
 * lacre.v1.Node.Enrol (DESIGN section 8): an EK of the inventory proves that an attestation key lives beside it, that
 * this connection's peer commands both, and that the host is as approved; then, and only then, the agent gets its SVID.
 */
export async function* enrol(
  deps: ServerDeps,
  gate: EnrolmentGate,
  requests: AsyncIterable<EnrolRequest>,
  context: HandlerContext,
): AsyncGenerator<EnrolResponse> {
  const peer = context.values.get(PEER);
  const exporter = peer?.exporter ?? new Uint8Array();
  let leave: (() => void) | undefined;
  try {
    const deadline = performance.now() + LIMITS.enrolmentMs;
    const incoming = requests[Symbol.asyncIterator]();
    const hello = await nextStep(incoming, 'hello', performance.now() + LIMITS.helloMs);
    const node = requireInventory(deps, gate, hello);
    leave = gate.enter(node.ekSha256Hex);
    // The connection lives no longer than this.
    peer?.widen();
    const claim = verifyClaim(deps, gate.roots, node, hello);
    const challenge = challengeOf(deps);
    yield response({ case: 'challenge', value: { ...credentialOf(claim, challenge), nonce: challenge.nonce } });
    const { state, evidence } = await receiveEvidence(deps, claim, incoming, deadline);
    const host = await appraise(deps, claim, challenge, hello, exporter, state, evidence);
    yield response({ case: 'result', value: await admit(deps, claim, hello, host, state) });
  } catch (error) {
    if (error instanceof LacreError)
      deps.log.warn({ code: error.code, ...error.details }, `enrolment: ${error.message}`);
    else if (!context.signal.aborted) deps.log.error({ err: error }, 'an enrolment failed');
    throw statusOf(error);
  } finally {
    leave?.();
  }
}

export function challengeOf(deps: ServerDeps): Challenge {
  return {
    nonce: new Uint8Array(randomBytes(32)),
    secret: new Uint8Array(randomBytes(32)),
    madeAt: deps.clock.now(),
  };
}

export function credentialOf(claim: Pick<EnrolmentClaim, 'endorsement' | 'key'>, challenge: Challenge) {
  const random = (length: number) => new Uint8Array(randomBytes(length));
  return makeCredential({ ek: claim.endorsement.ek, name: claim.key.name, secret: challenge.secret, random });
}

/**
 * Event log, then the list, each in chunks, then the evidence. The list is replayed as it comes.
 * @param resumed what is known of the node already: it goes on where no event log comes
 */
export async function receiveEvidence(
  deps: ServerDeps,
  claim: Pick<EnrolmentClaim, 'node'>,
  incoming: AsyncIterator<EnrolRequest>,
  deadline: number,
  resumed?: NodeState,
): Promise<{ readonly state: NodeState; readonly evidence: EnrolEvidence }> {
  const eventLog = new ByteWriter();
  let eventLogBytes = 0;
  let state: NodeState | undefined;
  const begin = () =>
    resumed !== undefined && eventLogBytes === 0
      ? resumed
      : NodeState.begin(deps, { node: claim.node, eventLog: eventLog.finish(), stored: undefined });
  for (;;) {
    const { step } = await nextRequest(incoming, deadline);
    if (step.case === 'eventLog' && state === undefined) {
      eventLogBytes += requireChunk(step.value);
      if (eventLogBytes > LIMITS.eventLogBytes) throw new LacreError('server.limit', 'the event log is over 1 MiB');
      eventLog.bytes(step.value);
    } else if (step.case === 'list') {
      requireChunk(step.value);
      state ??= begin();
      await state.append(step.value);
      await nextTurn();
    } else if (step.case === 'evidence') {
      return { state: state ?? begin(), evidence: step.value };
    } else {
      throw new LacreError('server.protocol', `enrolment takes no ${step.case ?? 'empty message'} at this point`);
    }
  }
}

/** Codes: tpm.*, ima.*, server.evidence.refused (as RefusedError with the verdict). */
export async function appraise(
  deps: ServerDeps,
  claim: Pick<EnrolmentClaim, 'node' | 'key' | 'endorsement'>,
  { nonce, secret, madeAt }: Challenge,
  hello: EnrolHello,
  exporter: Uint8Array,
  state: NodeState,
  evidence: EnrolEvidence,
): Promise<Verdict> {
  const quote = verifyQuote({
    attest: evidence.attest,
    signature: evidence.signature,
    key: claim.key,
    extraData: enrolmentExtraData({
      trustDomain: deps.config.trustDomain.name,
      nonce,
      secret,
      ekPublic: hello.ekPublic,
      akName: claim.key.name,
      csr: hello.csr,
      exporter,
    }),
    bank: state.bank,
  });
  requireEndorsementChild(quote, claim.endorsement.ek, claim.key.area);
  if (evidence.observation !== undefined) state.observe(evidence.observation);
  await state.verify(quote);
  await state.settle();
  const host = state.judgeHost(madeAt);
  if (!host.trusted) throw refuse(deps, claim, host, state);
  return host;
}

function refuse(
  deps: ServerDeps,
  { node, endorsement }: Pick<EnrolmentClaim, 'node' | 'endorsement'>,
  host: Verdict,
  state: NodeState,
): RefusedError {
  const verdict = verdictMessage(host);
  const fatal = host.findings.find((finding) => finding.fatal);
  const sentence = `node ${nodeLabel(node)} is refused: ${fatal?.detail ?? 'its host is not trusted'}`;
  deps.store.nodes.update(node.ekSha256Hex, {
    state: 'refused',
    rootOfTrust: endorsement.rootOfTrust,
    kernel: state.kernel,
    hostVerdict: toBinary(VerdictSchema, verdict),
  });
  tell(deps, { kind: 'refused', node: node.spiffeId, verdict, sentence });
  return new RefusedError('server.evidence.refused', sentence, verdict);
}

/**
 * What a node becomes that is admitted now; asked within the transaction that writes it, since a ban may have come
 * while its evidence was appraised. Code: server.node.banned.
 */
export function admittedState({ store }: ServerDeps, ekSha256Hex: string): 'attested' | 'enrolled' {
  const known = store.nodes.get(ekSha256Hex);
  if (known === undefined || known.banned || known.state === 'parked') {
    throw new LacreError('server.node.banned', 'the node was banned or taken out of the inventory meanwhile');
  }
  return known.state === 'attested' ? 'attested' : 'enrolled';
}

/** Signs the agent's SVID, writes it with the attestation key in one transaction, and says what the agent gets. */
async function admit(deps: ServerDeps, claim: EnrolmentClaim, hello: EnrolHello, host: Verdict, state: NodeState) {
  const { node, csr, key, endorsement } = claim;
  const svid = await issueAgentSvid({
    verdict: host,
    ekSha256Hex: node.ekSha256Hex,
    csr,
    authority: deps.keeper.current(),
    now: deps.clock.now(),
    ttlSeconds: Math.floor(deps.config.ca.agentSvidTtlMs / 1000),
    serial: freshSerial(),
  });
  const verdict = verdictMessage(host);
  await deps.store.grouped(() => {
    deps.store.nodes.update(node.ekSha256Hex, {
      state: admittedState(deps, node.ekSha256Hex),
      rootOfTrust: endorsement.rootOfTrust,
      akPublic: hello.akPublic,
      akNameHex: key.nameHex,
      agentVersion: hello.agentVersion,
      kernel: state.kernel,
      certificateSerialHex: svid.serialHex,
      certificateExpiresAt: svid.notAfter,
      hostVerdict: toBinary(VerdictSchema, verdict),
    });
    deps.store.evidence.putAgentSerial({
      serialHex: svid.serialHex,
      ekSha256Hex: node.ekSha256Hex,
      spiffeId: svid.spiffeId.uri,
      evidenceAt: host.evidenceTime,
      expiresAt: svid.notAfter,
    });
  });
  tell(deps, {
    kind: 'node',
    node: node.spiffeId,
    verdict,
    sentence: `node ${nodeLabel(node)} enrolled (${endorsement.rootOfTrust})`,
  });
  return {
    certificateChain: [svid.certificate],
    bundle: deps.keeper.bundle(),
    spiffeId: svid.spiffeId.uri,
    host: verdict,
  };
}

export async function nextStep(
  incoming: AsyncIterator<EnrolRequest>,
  wanted: 'hello',
  deadline: number,
): Promise<EnrolHello> {
  const { step } = await nextRequest(incoming, deadline);
  if (step.case === wanted) return step.value;
  throw new LacreError('server.protocol', 'an enrolment begins with a hello');
}

async function nextRequest(incoming: AsyncIterator<EnrolRequest>, deadline: number): Promise<EnrolRequest> {
  const left = deadline - performance.now();
  const next = await withTimeout(nextMessage(incoming), Math.max(0, left), 'the enrolment took too long');
  if (next.done === true) throw new LacreError('server.protocol', 'the enrolment ended before its evidence came');
  return next.value;
}

function requireChunk(chunk: Uint8Array): number {
  if (chunk.length <= LIMITS.chunkBytes) return chunk.length;
  throw new LacreError('server.limit', `a chunk has at most ${LIMITS.chunkBytes} bytes`, { length: chunk.length });
}

function response(step: MessageInitShape<typeof EnrolResponseSchema>['step']): EnrolResponse {
  return create(EnrolResponseSchema, { step: step ?? { case: undefined } });
}
