import { hash } from 'node:crypto';
import { toBinary } from '@bufbuild/protobuf';
import { sameConclusion, type Verdict, verdictMessage } from '../appraisal/verdict.ts';
import { LacreError } from '../lacre-error.ts';
import type { Refusal } from '../proto/lacre/v1/node_pb.ts';
import { VerdictSchema } from '../proto/lacre/v1/verdict_pb.ts';
import { earn } from './answer.ts';
import { tell } from './events.ts';
import { nodeLabel, type SessionContext, send } from './session-context.ts';
import { refusalOf } from './session-status.ts';
import type { Subscription } from './session-subscriptions.ts';

const ALL = () => true;
/** Containers that are judged without a pause: a few milliseconds. */
const CONTAINERS_PER_TURN = 32;

/**
 * Judges everything that holds an identity once more, after something changed that can only lower trust: new entries
 * of the list (quoted or not), another state of a container, a registration entry, a reference value. What is no
 * longer earned is withdrawn at once: in the store, by a message to the agent, and for the watchers. Many containers
 * are judged in turns, and all of them have been before long.
 * @param concerned containers that the change can concern; a change of the host's verdict concerns all.
 */
export function judgeAnew(context: SessionContext, concerned: (containerId: string) => boolean = ALL): void {
  const { last, state, deps, subscriptions } = context;
  if (last === undefined || context.outbox.ended) return;
  saveTaints(context);
  const host = state.judgeHost(last.time);
  context.last = { ...last, host };
  // A quote that nothing explains stays the newest word, until another one is explained.
  const counts = context.evidence !== undefined || !host.trusted;
  if (counts && !sameConclusion(host, last.host))
    deps.store.nodes.judged(context.node.ekSha256Hex, context.fence, toBinary(VerdictSchema, verdictMessage(host)));
  if (context.evidence !== undefined) context.evidence = context.last;
  if (!host.trusted) {
    const fatal = host.findings.find((finding) => finding.fatal);
    const error = new LacreError('server.evidence.refused', fatal?.detail ?? 'the host is not trusted');
    withdrawNode(context, error, host);
    return;
  }
  const same = host.selectors.join() === last.host.selectors.join();
  if (!same) context.entries.appraised(host);
  const now = deps.clock.now();
  const holders = subscriptions.containers(now);
  if (concerned === ALL) context.judgedAt = now;
  for (const containerId of same ? holders.filter(concerned) : holders) context.waiting.add(containerId);
  judgeWaiting(context);
}

/** Judges what waits: the first few at once, the others in turns of the event loop. */
function judgeWaiting(context: SessionContext): void {
  const { waiting, outbox } = context;
  if (context.judging) return;
  try {
    let judged = 0;
    let inPart = false;
    for (const containerId of waiting) {
      if (judged++ === CONTAINERS_PER_TURN) break;
      waiting.delete(containerId);
      inPart = judgeContainer(context, containerId) || inPart;
    }
    // Whoever lost one identity of several asks for the others anew.
    if (inPart) send(context, { case: 'entriesChanged', value: {} });
  } catch (error) {
    // Fail closed: a session that cannot withdraw issues nothing more.
    outbox.fail(error);
    waiting.clear();
  }
  if (waiting.size === 0 || outbox.ended) return;
  context.judging = true;
  setImmediate(() => {
    context.judging = false;
    judgeWaiting(context);
  });
}

/** True where an open stream lost some of its identities, and not all. */
function judgeContainer(context: SessionContext, containerId: string): boolean {
  const { state, last, subscriptions } = context;
  if (last === undefined || context.outbox.ended) return false;
  if (!state.hasContainer(containerId)) {
    if (state.hasAllContainers) withdrawGone(context, containerId);
    return false;
  }
  const held = subscriptions.ofContainer(containerId);
  const inPart = held.map((subscription) => judgeSubscription(context, subscription)).includes(true);
  // Of what no stream holds any more, or was issued in an earlier session, no caller is known.
  const verdict = state.judgeContainer(containerId, last);
  if (verdict.trusted) {
    withdrawUnmet(context, containerId, verdict);
    return inPart;
  }
  const refusal = held.length > 0 ? undefined : earn(context, verdict, 0).refusal;
  if (refusal !== undefined) withdrawContainer(context, containerId, refusal, verdict);
  return inPart;
}

/**
 * SVIDs of a trusted container whose SPIFFE IDs ask for more than it has now. The store is asked only where entries or
 * selectors changed: what was issued since the last time met them when it was.
 */
function withdrawUnmet(context: SessionContext, containerId: string, verdict: Verdict): void {
  const { deps, node, entries, subscriptions } = context;
  const asked = hash('sha256', `${context.revision} ${verdict.selectors.join(' ')}`, 'base64');
  if (subscriptions.isMet(containerId, asked)) return;
  const now = deps.clock.now();
  const unmet = deps.store.evidence
    .activeSerials(now, node.ekSha256Hex, containerId)
    .filter(({ spiffeId }) => entries.asksMore(spiffeId, verdict));
  subscriptions.setMet(containerId, asked);
  if (unmet.length === 0) return;
  deps.store.evidence.withdrawSerials(
    unmet.map(({ serialHex }) => serialHex),
    now,
  );
}

/** Ends what a node holds: the host failed, or the node may no longer speak. */
export function withdrawNode(context: SessionContext, error: LacreError, host?: Verdict): void {
  const { deps, node, subscriptions } = context;
  const now = deps.clock.now();
  const banned = error.code === 'server.node.banned';
  const serials = deps.store.evidence.withdrawNode(node.ekSha256Hex, now, banned);
  const held = subscriptions.all();
  for (const containerId of subscriptions.containers(now)) subscriptions.forget(containerId);
  if (held.length === 0 && serials.length === 0) return;
  const refusal = refusalOf(error, host === undefined ? undefined : verdictMessage(host));
  send(context, { case: 'withdrawal', value: { containerId: '', refusal } });
  tell(deps, {
    kind: 'withdrawn',
    node: node.spiffeId,
    ...(host === undefined ? {} : { verdict: host }),
    sentence: `every identity on node ${nodeLabel(node)} is withdrawn: ${error.message}`,
  });
}

/** Requests that were answered on reused evidence, and that the quote after them did not hold. */
export function withdrawOverdue(context: SessionContext, nonceNumber: number): void {
  const { deps, subscriptions } = context;
  const serials: string[] = [];
  for (const { released, request, identities, containerId } of subscriptions.overdue(nonceNumber)) {
    const error = new LacreError('server.protocol', `no quote confirmed request ${request.id} in time`);
    if (!released) {
      withdrawContainer(context, containerId, refusalOf(error, undefined, true));
      continue;
    }
    serials.push(...identities.map(({ serialHex }) => serialHex));
    subscriptions.drop(request.id);
  }
  if (serials.length > 0) deps.store.evidence.withdrawSerials(serials, deps.clock.now());
}

/** True where it lost some of its identities, and not all. */
function judgeSubscription(context: SessionContext, subscription: Subscription): boolean {
  const { state, last, deps, subscriptions } = context;
  const { request, containerId, identities } = subscription;
  if (last === undefined || subscriptions.get(request.id) !== subscription) return false;
  const verdict = state.judgeNow(request.record, last);
  const { refusal, matches } = earn(context, verdict, 0, request.kind);
  if (refusal !== undefined) {
    withdrawContainer(context, containerId, refusal, verdict);
    return false;
  }
  const earned = new Set(matches.map(({ entry }) => entry.id));
  const lost = identities.filter((identity) => !earned.has(identity.entryId));
  if (lost.length === 0) return false;
  deps.store.evidence.withdrawSerials(
    lost.map((identity) => identity.serialHex),
    deps.clock.now(),
  );
  const kept = identities.filter((identity) => earned.has(identity.entryId));
  if (kept.length > 0) subscriptions.keep({ ...subscription, identities: kept });
  else withdrawContainer(context, containerId, goneEntry(verdict), verdict);
  return kept.length > 0;
}

function goneEntry(verdict: Verdict): Refusal {
  const error = new LacreError(
    'server.entry.withdrawn',
    'the registration entry was deleted, or asks for something else now',
  );
  return refusalOf(error, verdictMessage(verdict));
}

/**
 * A container that is gone holds nothing any more: its keys may have outlived it. That is nobody's alarm; the agent is
 * told to ask again, for one that only seemed to be gone.
 */
function withdrawGone(context: SessionContext, containerId: string): void {
  const { deps, node, subscriptions } = context;
  const now = deps.clock.now();
  const serials = deps.store.evidence.activeSerials(now, node.ekSha256Hex, containerId);
  deps.store.evidence.withdrawSerials(
    serials.map(({ serialHex }) => serialHex),
    now,
  );
  const answered = subscriptions.ofContainer(containerId).length > 0;
  subscriptions.forget(containerId);
  if (!answered) return;
  const refusal = refusalOf(new LacreError('server.workload.unknown', 'the container is gone'), undefined, true);
  send(context, { case: 'withdrawal', value: { containerId, refusal } });
}

function withdrawContainer(context: SessionContext, containerId: string, refusal: Refusal, verdict?: Verdict): void {
  const { deps, node, state, subscriptions, last } = context;
  const now = deps.clock.now();
  deps.store.transaction(() => {
    if (verdict !== undefined && last !== undefined) {
      for (const row of state.workloadRows([{ containerId, verdict }])) {
        deps.store.evidence.putWorkload({ ...row, ekSha256Hex: node.ekSha256Hex, updatedAt: now });
      }
    }
    deps.store.evidence.withdraw(node.ekSha256Hex, containerId, now);
  });
  subscriptions.forget(containerId);
  send(context, { case: 'withdrawal', value: { containerId, refusal } });
  const containerName = state.containerName(containerId);
  tell(deps, {
    kind: 'withdrawn',
    node: node.spiffeId,
    containerId,
    containerName,
    ...(verdict === undefined ? {} : { verdict }),
    sentence: `the identities of ${containerName || containerId} are withdrawn: ${refusal.sentence}`,
  });
}

/** What is held against containers is on disk before anything else happens, so that no restart and no cut forgets it. */
function saveTaints(context: SessionContext): void {
  const { deps, node, fence, state, epoch } = context;
  if (epoch === undefined || context.clock === undefined) return;
  const taints = state.unsavedTaints();
  const book = state.unsavedMisses();
  if (taints.length === 0 && book === undefined) return;
  deps.store.evidence.commitTaints({ ekSha256Hex: node.ekSha256Hex, fence, epoch: epoch.epoch, taints, book });
  state.taintsSaved(taints);
  if (book !== undefined) state.bookSaved(book);
}
