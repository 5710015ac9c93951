import type { WorkloadRequest } from '../proto/lacre/v1/node_pb.ts';
import { deliver, issuedRows, type PreparedAnswer, prepareAnswers } from './answer.ts';
import { type BatchRequest, parseRequests } from './batch.ts';
import { maxRequests, type SessionContext } from './session-context.ts';
import { judgeAnew } from './withdrawal.ts';

/**
 * Requests outside of any Evidence (DESIGN section 8, freshness): answered on the evidence that this connection gave,
 * where every entry that matches allows evidence of that age; each answer must then be confirmed under one of the next
 * quotes. In every other case, a refusal among them, the request waits for a quote: only fresh evidence refuses. What
 * is answered is one transaction.
 */
export async function answerOnReusedEvidence(
  context: SessionContext,
  messages: readonly WorkloadRequest[],
): Promise<void> {
  const requests = await parseRequests(messages, maxRequests(context));
  for (const { id } of requests) context.subscriptions.admit(id);
  const { deps, node, fence, nonces, evidence, revision } = context;
  const prepared = evidence?.host.trusted === true ? await prepareAnswers(context, requests, true) : [];
  const stillGood = context.evidence === evidence && context.revision === revision && !context.outbox.ended;
  const answers = stillGood && prepared.length > 0 ? prepared : requests.map(quoteNeeded);
  if (evidence !== undefined && answers.some(({ outcome }) => outcome.case === 'identities')) {
    const rows = issuedRows(answers, evidence.time);
    const issued = { ekSha256Hex: node.ekSha256Hex, fence, ...rows };
    // Verdicts issue nothing: there is no disk to wait for.
    if (rows.issued.length === 0) deps.store.evidence.requireFence(issued);
    else await deps.store.grouped(() => deps.store.evidence.commitIssued(issued));
  }
  await deliver(context, answers, () => nonces.next);
  // What changed while the disk was written, and between the messages, is held against what was just issued, too.
  if (context.revision !== revision) judgeAnew(context);
}

function quoteNeeded(request: BatchRequest): PreparedAnswer {
  const { containerId } = request.record.claim;
  return { request, containerId, verdict: undefined, outcome: { case: 'quoteNeeded' } };
}
