import { randomUUID } from 'node:crypto';
import { toBinary } from '@bufbuild/protobuf';
import { fatalFinding } from '../appraisal/finding.ts';
import { refuseVerdict, sameConclusion, type Verdict, verdictMessage } from '../appraisal/verdict.ts';
import type { BookMemory } from '../container/domain-book.ts';
import { isLacreError, LacreError } from '../lacre-error.ts';
import type { Evidence, WorkloadRequest } from '../proto/lacre/v1/node_pb.ts';
import { VerdictSchema } from '../proto/lacre/v1/verdict_pb.ts';
import type { VerifiedQuote } from '../tpm/quote.ts';
import { commitAnswers, judgeUnwritten, prepareAnswers, requireOpen } from './answer.ts';
import { type Batch, parseBatch, verifyEvidence } from './batch.ts';
import { type ClockPoint, chooseEpoch, requireSameEpoch } from './epoch.ts';
import { tell } from './events.ts';
import type { OpenNonce } from './nonce.ts';
import {
  type CurrentEvidence,
  maxRequests,
  nodeLabel,
  type SessionContext,
  send,
  sendAnswers,
} from './session-context.ts';
import { refusalOf } from './session-status.ts';
import type { EpochRow } from './store-evidence.ts';
import { judgeAnew, withdrawOverdue } from './withdrawal.ts';

/**
 * One quote with everything under it. On return every request has its answer, and all that the evidence changed is on
 * disk; what is not evidence (a nonce of no more use, a list that explains no PCRs) leaves everything as it was, and
 * the session without evidence.
 * Codes, each of which ends the session: server.protocol, server.limit, server.epoch.*, server.store.*, tpm.*, ima.*.
 */
export async function handleEvidence(context: SessionContext, evidence: Evidence): Promise<void> {
  const nonce = takeNonce(context, evidence);
  if (nonce === undefined) return;
  if (evidence.listLength !== BigInt(context.state.byteLength)) {
    throw new LacreError('server.protocol', 'evidence is of another length of the list than was sent before it');
  }
  const batch = await parseBatch(evidence, maxRequests(context), (id) => context.subscriptions.confirmable(id));
  for (const request of batch.requests) context.subscriptions.admit(request.id);
  const { key, exporter } = context;
  const { bank } = context.state;
  const quote = verifyEvidence({ evidence, batch, nonce: nonce.value, key, exporter, bank });
  const point: ClockPoint = { akNameHex: quote.keyNameHex, ...quote.clock };
  if (context.clock !== undefined) requireSameEpoch(context.clock, point);
  if (!(await explained(context, quote, batch, nonce))) return;
  const epoch = await enterEpoch(context, point, nonce);
  const before = context.last;
  const host = context.state.judgeHost(nonce.madeAt);
  context.last = { time: nonce.madeAt, steadyMs: nonce.madeAtSteadyMs, host };
  context.evidence = context.last;
  context.entries.appraised(host);
  for (const id of batch.confirms) context.subscriptions.confirm(id);
  const judgedIn = await answer(context, batch, epoch);
  withdrawOverdue(context, nonce.number);
  if (!restsAsItWas(context, before, host) || context.revision !== judgedIn) judgeAnew(context);
  send(context, {
    case: 'node',
    value: { host: verdictMessage(host), verifiedEntries: BigInt(context.state.verifiedLength) },
  });
}

/**
 * Whether nothing that verdicts are made of is other than when every holder was last judged: every change by itself (an
 * entry of the list, a container, an observation, a registration entry, a reference value) had them judged when it came.
 */
function restsAsItWas(context: SessionContext, before: CurrentEvidence | undefined, host: Verdict): boolean {
  const moved = context.state.takeMoved();
  if (moved || before === undefined || !host.trusted || !sameConclusion(before.host, host)) return false;
  return !context.entries.hasExpired(context.judgedAt, context.deps.clock.now());
}

/** A nonce that came too late is no fault of the workloads: they are asked for again, under the next quote. */
function takeNonce(context: SessionContext, evidence: Evidence): OpenNonce | undefined {
  const { deps, nonces } = context;
  try {
    return nonces.take(evidence.nonce, deps.clock.now());
  } catch (error) {
    if (!isLacreError(error, 'server.nonce.unknown')) throw error;
    deps.log.info({ node: context.node.spiffeId, code: error.code }, error.message);
    askAgain(context, evidence.requests);
    return undefined;
  }
}

function askAgain(context: SessionContext, requests: readonly WorkloadRequest[]): void {
  const asked = requests.slice(0, maxRequests(context));
  sendAnswers(
    context,
    asked.map(({ id }) => ({ id, outcome: { case: 'quoteNeeded', value: {} } })),
  );
}

/** Replays the list up to the quote. A quote that no prefix explains is no evidence, and ends what older evidence allowed. */
async function explained(
  context: SessionContext,
  quote: VerifiedQuote,
  batch: Batch,
  nonce: OpenNonce,
): Promise<boolean> {
  try {
    await context.state.verify(quote);
    return true;
  } catch (error) {
    if (!isLacreError(error, 'ima.prefix.unexplained')) throw error;
    context.evidence = undefined;
    refuseAll(context, batch, nonce, error);
    return false;
  }
}

function refuseAll(context: SessionContext, batch: Batch, nonce: OpenNonce, error: LacreError): void {
  const finding = fatalFinding('ima.list.unexplained', 'host', error.message);
  const verdict = verdictMessage(refuseVerdict('host', [finding], nonce.madeAt));
  const { deps, node, fence, state } = context;
  deps.store.nodes.judged(node.ekSha256Hex, fence, toBinary(VerdictSchema, verdict));
  deps.log.warn({ node: node.spiffeId, code: error.code, entries: state.length }, error.message);
  send(context, { case: 'node', value: { host: verdict, verifiedEntries: BigInt(state.verifiedLength) } });
  const refusal = refusalOf(error, verdict, true);
  sendAnswers(
    context,
    batch.requests.map(({ id }) => ({ id, outcome: { case: 'refusal', value: refusal } })),
  );
}

/** Draws or continues the epoch, and says what its row becomes with this evidence. */
async function enterEpoch(context: SessionContext, point: ClockPoint, nonce: OpenNonce): Promise<EpochRow> {
  const { state, epoch: stored, deps, node } = context;
  let name = stored?.epoch ?? '';
  if (context.clock === undefined) {
    const choice = chooseEpoch(stored, point, state.passage);
    if (stored !== undefined && choice.carriesTaints) carry(context, stored.epoch);
    if (!choice.continues) name = randomUUID();
    if (stored !== undefined && !choice.continues) {
      tell(deps, { kind: 'node', node: node.spiffeId, sentence: `node ${nodeLabel(node)} begins a new epoch` });
    }
  }
  context.clock = point;
  await state.settle();
  return { ...point, ...state.point(), epoch: name, evidenceAt: nonce.madeAt };
}

function carry({ deps, node, state }: SessionContext, epoch: string): void {
  const { evidence } = deps.store;
  const book = evidence.book(node.ekSha256Hex, epoch);
  state.carry(
    evidence.taints(node.ekSha256Hex, epoch),
    book === undefined ? undefined : (JSON.parse(book) as BookMemory),
  );
}

/** Judges, signs, and commits; where anything changed meanwhile, all is judged again. Returns the revision that was judged. */
async function answer(context: SessionContext, batch: Batch, epoch: EpochRow): Promise<number> {
  for (;;) {
    const { revision } = context;
    const others = await judgeUnwritten(context);
    const answers = await prepareAnswers(context, batch.requests);
    requireOpen(context);
    if (context.revision !== revision) continue;
    await commitAnswers(context, answers, others, epoch);
    return revision;
  }
}
