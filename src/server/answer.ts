import { setImmediate as nextTurn } from 'node:timers/promises';
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { findingMessage } from '../appraisal/finding.ts';
import { type Verdict, verdictMessage } from '../appraisal/verdict.ts';
import { SpiffeId } from '../identity/spiffe-id.ts';
import { issueX509Svid, type X509Svid } from '../issuance/x509-svid.ts';
import { isLacreError, LacreError } from '../lacre-error.ts';
import type { Identities, Refusal } from '../proto/lacre/v1/node_pb.ts';
import { type AnswerSchema, IdentitiesSchema, RefusalSchema } from '../proto/lacre/v1/node_pb.ts';
import { VerdictSchema } from '../proto/lacre/v1/verdict_pb.ts';
import type { MatchedEntry } from './answer-entries.ts';
import { ledgerLeaf } from './answer-ledger.ts';
import { verdictMessageWith } from './answer-verdict.ts';
import type { BatchRequest } from './batch.ts';
import { tell } from './events.ts';
import { freshSerial } from './fresh-serial.ts';
import { LIMITS } from './limits.ts';
import type { JudgedContainer } from './node-state.ts';
import { ANSWERS_PER_MESSAGE, type SessionContext, sendAnswers } from './session-context.ts';
import { refusalOf } from './session-status.ts';
import type { EntryRow } from './store-entries.ts';
import type { EpochRow, EvidenceCommit } from './store-evidence.ts';

const NO_LEAF = new Uint8Array();

/** Answers that are judged and signed without a pause: about 3 ms. */
const ANSWERS_PER_TURN = 16;

/** An SVID that is signed and has not left the server. */
export interface PreparedIdentity {
  readonly svid: X509Svid;
  readonly matched: MatchedEntry;
  /** Of the ledger. */
  readonly leaf: Uint8Array;
}

/** What a request will be told once it is committed. */
export interface PreparedAnswer {
  readonly request: BatchRequest;
  readonly containerId: string;
  /** Undefined where the request names a container that is not there. */
  readonly verdict: Verdict | undefined;
  readonly outcome:
    | { readonly case: 'identities'; readonly identities: readonly PreparedIdentity[] }
    | { readonly case: 'refusal'; readonly refusal: Refusal }
    /** Only of reused evidence: it can neither refuse, nor give all that fresh evidence would. */
    | { readonly case: 'quoteNeeded' };
}

/**
 * Judges each request on the evidence of this session, and signs what it earns. Nothing leaves yet.
 * @param isReused the requests are under no quote: what only a quote can answer is not signed.
 */
export async function prepareAnswers(
  context: SessionContext,
  requests: readonly BatchRequest[],
  isReused = false,
): Promise<PreparedAnswer[]> {
  const answers: PreparedAnswer[] = [];
  for (const request of requests) {
    answers.push(await prepareAnswer(context, request, isReused));
    if (answers.length % ANSWERS_PER_TURN === 0) await nextTurn();
  }
  return answers;
}

async function prepareAnswer(
  context: SessionContext,
  request: BatchRequest,
  isReused: boolean,
): Promise<PreparedAnswer> {
  const containerId = context.state.containerId(request.record);
  const base = { request, containerId };
  try {
    const verdict = judge(context, request);
    const ageMs = evidenceAgeMs(context);
    const earned = earn(context, verdict, ageMs, request.kind);
    if (isReused && !(earned.refusal === undefined && isFreshForAll(context, request, verdict, earned, ageMs))) {
      return { ...base, verdict, outcome: { case: 'quoteNeeded' } };
    }
    const { refusal, matches } = earned;
    if (refusal !== undefined) return { ...base, verdict, outcome: { case: 'refusal', refusal } };
    const identities = request.kind === 1 ? await sign(context, request, verdict, matches) : [];
    return { ...base, verdict, outcome: { case: 'identities', identities } };
  } catch (error) {
    if (!isLacreError(error)) throw error;
    if (isReused) return { ...base, verdict: undefined, outcome: { case: 'quoteNeeded' } };
    const retry = error.code === 'server.workload.unknown' || error.code === 'issuance.stale';
    return { ...base, verdict: undefined, outcome: { case: 'refusal', refusal: refusalOf(error, undefined, retry) } };
  }
}

/** Verdict over a request on the newest evidence of this session. Codes: server.workload.unknown. */
export function judge(context: SessionContext, request: BatchRequest): Verdict {
  const { state, evidence } = context;
  if (evidence === undefined) throw new LacreError('server.workload.unknown', 'there is no evidence of this session');
  return state.judge(request.record, evidence);
}

/** Entries whose identities a verdict earns, or why it earns nothing. */
export interface Earned {
  readonly matches: readonly MatchedEntry[];
  /** Whether an entry that fits otherwise is missed, for the age of the evidence or for something else. */
  readonly misses: boolean;
  readonly refusal: Refusal | undefined;
}

/**
 * What a verdict earns.
 * @param ageMs of the evidence; 0 to leave its age aside.
 * @param kind of the request: a verdict (4) is earned by trust alone, its registration entries are SPIRE's.
 */
export function earn(context: SessionContext, verdict: Verdict, ageMs: number, kind: BatchRequest['kind'] = 1): Earned {
  if (!verdict.trusted) {
    const fatal = verdict.findings.find((finding) => finding.fatal);
    const refusal = create(RefusalSchema, {
      code: fatal?.code ?? 'appraisal.host.refused',
      sentence: fatal?.detail ?? 'the container is not trusted',
      verdict: verdictMessage(verdict),
    });
    return { matches: [], misses: true, refusal };
  }
  if (kind === 4) return { matches: [], misses: false, refusal: undefined };
  const { matches, findings } = context.entries.match(verdict, ageMs);
  const misses = findings.length > 0;
  if (matches.length > 0) return { matches, misses, refusal: undefined };
  const error = new LacreError(
    'server.entry.none',
    findings[0]?.detail ?? 'no registration entry matches the workload',
  );
  return { matches, misses, refusal: refusalOf(error, verdictMessageWith(verdict, findings.map(findingMessage))) };
}

/** Whether no entry is left out for the age of the evidence alone: half of the identities is no answer. */
function isFreshForAll(
  context: SessionContext,
  { kind, maxEvidenceAgeMs }: BatchRequest,
  verdict: Verdict,
  { matches, misses }: Earned,
  ageMs: number,
): boolean {
  if (kind === 4) return ageMs <= maxEvidenceAgeMs;
  return !misses || matches.length === context.entries.match(verdict, 0).matches.length;
}

/** By whichever clock says more: setting the server's clock back makes no evidence younger. */
export function evidenceAgeMs({ evidence, deps }: SessionContext): number {
  if (evidence === undefined) return Number.POSITIVE_INFINITY;
  return Math.max(deps.clock.now().getTime() - evidence.time.getTime(), performance.now() - evidence.steadyMs);
}

async function sign(
  context: SessionContext,
  request: BatchRequest,
  verdict: Verdict,
  matches: readonly MatchedEntry[],
): Promise<PreparedIdentity[]> {
  if (matches.length > LIMITS.identitiesPerRequest) {
    throw new LacreError(
      'server.limit',
      `${matches.length} entries match one workload: the bound is ${LIMITS.identitiesPerRequest}`,
    );
  }
  const { deps, budget } = context;
  const containerId = context.state.containerId(request.record);
  const identities: PreparedIdentity[] = [];
  for (const matched of matches) {
    const { entry } = matched;
    budget.requireRoom(containerId, deps.clock.now());
    const svid = await issueX509Svid({
      verdict,
      spiffeId: spiffeIdOf(entry),
      publicKey: request.subject,
      authority: deps.keeper.current(),
      now: deps.clock.now(),
      ttlSeconds: entry.x509SvidTtl > 0 ? entry.x509SvidTtl : Math.floor(deps.config.ca.svidTtlMs / 1000),
      dnsNames: entry.dnsNames,
      serial: freshSerial(),
    });
    budget.add(containerId, svid.notAfter, deps.clock.now());
    identities.push({ svid, matched, leaf: ledgerLeaf(context, { request, containerId }, svid, verdict.evidenceTime) });
  }
  return identities;
}

const spiffeIds = new WeakMap<EntryRow, SpiffeId>();

/** Read once for each entry, of which many workloads may come and come again. */
function spiffeIdOf(entry: EntryRow): SpiffeId {
  const known = spiffeIds.get(entry) ?? SpiffeId.parse(entry.spiffeId);
  spiffeIds.set(entry, known);
  return known;
}

/** Writes evidence and answers as one transaction, and sends them when it is on disk. Codes: server.store.*, server.node.missing. */
export async function commitAnswers(
  context: SessionContext,
  answers: readonly PreparedAnswer[],
  others: readonly JudgedContainer[],
  epoch: EpochRow,
): Promise<void> {
  const { deps, node, fence, state, evidence, agentVersion } = context;
  if (evidence === undefined) throw new LacreError('server.session.failed', 'there is no evidence to commit');
  const now = deps.clock.now();
  const stored = context.epoch;
  const taints = stored?.epoch === epoch.epoch ? state.unsavedTaints() : state.allTaints();
  const book = state.unsavedBook();
  const commit: EvidenceCommit = {
    ekSha256Hex: node.ekSha256Hex,
    fence,
    expected: stored === undefined ? undefined : { epoch: stored.epoch, verifiedIndex: stored.verifiedIndex },
    epoch,
    node: {
      state: evidence.host.trusted ? 'attested' : 'refused',
      hostVerdict: toBinary(VerdictSchema, verdictMessage(evidence.host)),
      kernel: state.kernel,
      agentVersion,
    },
    taints,
    book,
    workloads: state.workloadRows(newestVerdicts(others, answers)),
    ...issuedRows(answers, evidence.time),
    withdrawnContainers: [],
    now,
  };
  const onDisk = deps.store.grouped(() => deps.store.evidence.commitEvidence(commit));
  state.taintsSaved(taints);
  if (book !== undefined) state.bookSaved(book);
  context.epoch = epoch;
  await onDisk;
  requireOpen(context);
  await deliver(context, answers, () => undefined);
}

/** Whoever was banned or fenced while the disk was written gets nothing. Codes: server.store.fenced. */
export function requireOpen({ outbox }: SessionContext): void {
  if (outbox.ended) throw new LacreError('server.store.fenced', 'the session ended while it was answered');
}

/** Verdicts over containers that changed, whether they asked for something or not: for those who ask why. */
export async function judgeUnwritten(context: SessionContext): Promise<JudgedContainer[]> {
  const { state, evidence } = context;
  const judged: JudgedContainer[] = [];
  for (const containerId of evidence === undefined ? [] : state.takeUnwritten()) {
    if (evidence === undefined || !state.hasContainer(containerId)) continue;
    judged.push({ containerId, verdict: state.judgeContainer(containerId, evidence) });
    if (judged.length % ANSWERS_PER_TURN === 0) await nextTurn();
  }
  return judged;
}

/** One for each container: that of its newest request, where it made one. */
function newestVerdicts(others: readonly JudgedContainer[], answers: readonly PreparedAnswer[]): JudgedContainer[] {
  const all = new Map(others.map((judged) => [judged.containerId, judged]));
  for (const { containerId, verdict } of answers)
    if (verdict !== undefined) all.set(containerId, { containerId, verdict });
  return [...all.values()];
}

/** Rows of the serials that answers hold, and their leaves of the ledger. */
export function issuedRows(
  answers: readonly PreparedAnswer[],
  evidenceAt: Date,
): Pick<EvidenceCommit, 'issued' | 'ledger'> {
  const issued: EvidenceCommit['issued'][number][] = [];
  const ledger: Uint8Array[] = [];
  for (const answer of answers) {
    if (answer.outcome.case !== 'identities') continue;
    for (const { svid, leaf } of answer.outcome.identities) {
      const { containerId } = answer;
      issued.push({
        serialHex: svid.serialHex,
        containerId,
        spiffeId: svid.spiffeId.uri,
        evidenceAt,
        expiresAt: svid.notAfter,
      });
      ledger.push(leaf);
    }
  }
  return { issued, ledger };
}

/**
 * Sends committed answers, a message in each turn, and keeps what they gave, so that it can be taken back. What changes
 * between two messages is for the caller to hold against all of them.
 * @param confirmByNonce as it is when a message is sent; undefined where the answers do not rest on reused evidence.
 * Codes: server.store.fenced, once the session has ended: nothing more leaves.
 */
export async function deliver(
  context: SessionContext,
  answers: readonly PreparedAnswer[],
  confirmByNonce: () => number | undefined,
): Promise<void> {
  for (let at = 0; at < answers.length; at += ANSWERS_PER_MESSAGE) {
    if (at > 0) await nextTurn();
    requireOpen(context);
    deliverTogether(context, answers.slice(at, at + ANSWERS_PER_MESSAGE), confirmByNonce());
  }
}

function deliverTogether(
  context: SessionContext,
  answers: readonly PreparedAnswer[],
  confirmByNonce: number | undefined,
): void {
  sendAnswers(
    context,
    answers.map((answer) => answerMessage(context, answer)),
  );
  for (const answer of answers) {
    const { request, outcome } = answer;
    if (outcome.case === 'identities') {
      const identities = outcome.identities.map(({ svid, matched }) => ({
        serialHex: svid.serialHex,
        spiffeId: matched.entry.spiffeId,
        entryId: matched.entry.id,
        expiresAt: svid.notAfter,
      }));
      const { id, kind, leaf } = request;
      const record = context.state.keptRecord(request.record);
      const { containerId } = record.claim;
      // What a quote covers is confirmed by nothing.
      const kept = { id, kind, record, leaf: confirmByNonce === undefined ? NO_LEAF : leaf };
      context.subscriptions.keep({ request: kept, containerId, identities, confirmByNonce, released: false });
    }
    tellAnswer(context, answer);
  }
}

function answerMessage(context: SessionContext, answer: PreparedAnswer): MessageInitShape<typeof AnswerSchema> {
  const { request, outcome } = answer;
  const { id } = request;
  if (outcome.case === 'refusal') return { id, outcome: { case: 'refusal', value: outcome.refusal } };
  if (outcome.case === 'quoteNeeded') return { id, outcome: { case: 'quoteNeeded', value: {} } };
  return { id, outcome: { case: 'identities', value: identitiesOf(context, answer, outcome.identities) } };
}

function identitiesOf(
  context: SessionContext,
  { request, verdict }: PreparedAnswer,
  identities: readonly PreparedIdentity[],
): Identities {
  return create(IdentitiesSchema, {
    selectors: request.kind === 4 ? [...(verdict?.selectors ?? [])] : [],
    x509: identities.map(({ svid, matched }) => ({
      spiffeId: svid.spiffeId.uri,
      certificateChain: [svid.certificate],
      expiresAtUnixMs: BigInt(svid.notAfter.getTime()),
      hint: matched.entry.hint,
    })),
    evidenceAgeMs: BigInt(Math.ceil(evidenceAgeMs(context))),
  });
}

function tellAnswer(context: SessionContext, { containerId, outcome, verdict, request }: PreparedAnswer): void {
  const { deps, node, state } = context;
  const base = {
    node: node.spiffeId,
    containerId,
    containerName: state.containerName(containerId),
    ...(verdict === undefined ? {} : { verdict }),
  };
  if (outcome.case === 'refusal') {
    // A workload that asks again and again is told each time; people are told once.
    if (context.told.get(containerId) === outcome.refusal.sentence) return;
    if (context.told.size >= LIMITS.subscriptionsPerNode) context.told.clear();
    context.told.set(containerId, outcome.refusal.sentence);
    tell(deps, { ...base, kind: 'refused', sentence: outcome.refusal.sentence });
    return;
  }
  if (outcome.case === 'quoteNeeded') return;
  context.told.delete(containerId);
  if (request.kind !== 1) return;
  for (const { svid } of outcome.identities) {
    tell(deps, {
      ...base,
      kind: 'issued',
      spiffeId: svid.spiffeId.uri,
      sentence: `${svid.spiffeId.uri} is issued until ${svid.notAfter.toISOString()}`,
    });
  }
}
