import type { WorkloadRequest } from '../proto/lacre/v1/node_pb.ts';
import { deliver, evidenceAgeMs, issuedRows, type PreparedAnswer, prepareAnswer } from './answer.ts';
import { parseRequest } from './batch.ts';
import { type SessionContext, send } from './session-context.ts';

/**
 * A request outside of any Evidence (DESIGN section 8, freshness): answered on the evidence that this connection gave,
 * where every entry that matches allows evidence of that age; the answer must then be confirmed under one of the next
 * quotes. In every other case, a refusal among them, the request waits for a quote: only fresh evidence refuses.
 */
export async function answerOnReusedEvidence(context: SessionContext, message: WorkloadRequest): Promise<void> {
  const request = parseRequest(message);
  context.subscriptions.admit(request.id);
  const { evidence, revision } = context;
  if (evidence?.host.trusted === true) {
    const answer = await prepareAnswer(context, request);
    const stillGood = context.evidence === evidence && context.revision === revision && !context.outbox.ended;
    if (stillGood && answer.outcome.case === 'identities' && freshForAll(context, answer)) {
      commitReused(context, answer, evidence.time);
      return;
    }
  }
  send(context, { case: 'answer', value: { id: request.id, outcome: { case: 'quoteNeeded', value: {} } } });
}

/** Whether no entry is left out for the age of the evidence alone: half of the identities is no answer. */
function freshForAll(context: SessionContext, { verdict, request }: PreparedAnswer): boolean {
  if (verdict === undefined) return false;
  if (request.kind === 4) return evidenceAgeMs(context) <= request.maxEvidenceAgeMs;
  const { entries } = context;
  const aged = entries.match(verdict, evidenceAgeMs(context)).matches.length;
  return aged === entries.match(verdict, 0).matches.length;
}

/** Codes: server.store.*. */
function commitReused(context: SessionContext, answer: PreparedAnswer, evidenceAt: Date): void {
  const { deps, node, fence, nonces } = context;
  const rows = issuedRows(context, [answer], evidenceAt);
  deps.store.evidence.commitIssued({ ekSha256Hex: node.ekSha256Hex, fence, ...rows });
  deliver(context, [answer], nonces.next);
}
