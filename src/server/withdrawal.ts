import { type Verdict, verdictMessage } from '../appraisal/verdict.ts';
import { LacreError } from '../lacre-error.ts';
import type { Refusal } from '../proto/lacre/v1/node_pb.ts';
import { refuse } from './answer.ts';
import { tell } from './events.ts';
import { nodeLabel, type SessionContext, send } from './session-context.ts';
import { refusalOf } from './session-status.ts';
import type { Subscription } from './session-subscriptions.ts';

/**
 * Judges everything that holds an identity once more, after something changed that can only lower trust: new entries
 * of the list (quoted or not), another state of a container, a registration entry, a reference value. What is no
 * longer earned is withdrawn at once: in the store, by a message to the agent, and for the watchers.
 * @param concerned containers that the change can concern.
 */
export function judgeAnew(context: SessionContext, concerned: (containerId: string) => boolean = () => true): void {
  const { last, state } = context;
  if (last === undefined || context.outbox.ended) return;
  saveTaints(context);
  const host = state.judgeHost(last.time);
  context.last = { time: last.time, host };
  if (context.evidence !== undefined) context.evidence = context.last;
  if (!host.trusted) {
    const fatal = host.findings.find((finding) => finding.fatal);
    const error = new LacreError('server.evidence.refused', fatal?.detail ?? 'the host is not trusted');
    withdrawNode(context, error, host);
    return;
  }
  for (const subscription of context.subscriptions.all()) {
    if (concerned(subscription.containerId)) judgeSubscription(context, subscription);
  }
  judgeEarlierSessions(context, concerned);
}

/** Ends what a node holds: the host failed, or the node may no longer speak. */
export function withdrawNode(context: SessionContext, error: LacreError, host?: Verdict): void {
  const { deps, node, subscriptions } = context;
  const now = deps.clock.now();
  const banned = error.code === 'server.node.banned';
  const serials = deps.store.evidence.withdrawNode(node.ekSha256Hex, now, banned);
  const held = subscriptions.all();
  for (const { request } of held) subscriptions.drop(request.id);
  if (held.length === 0 && serials.length === 0) return;
  const refusal = refusalOf(error, host === undefined ? undefined : verdictMessage(host));
  send(context, { case: 'withdrawal', value: { containerId: '', refusal } });
  tell(deps, {
    kind: 'withdrawn',
    node: node.spiffeId,
    ...(host === undefined ? {} : { verdict: verdictMessage(host) }),
    sentence: `every identity on node ${nodeLabel(node)} is withdrawn: ${error.message}`,
  });
}

/** Requests that were answered on reused evidence, and that the quote after them did not hold. */
export function withdrawOverdue(context: SessionContext, nonceNumber: number): void {
  const { deps, subscriptions } = context;
  for (const { released, request, identities, containerId } of subscriptions.overdue(nonceNumber)) {
    const error = new LacreError('server.protocol', `no quote confirmed request ${request.id} in time`);
    if (!released) {
      withdrawContainer(context, containerId, refusalOf(error, undefined, true));
      continue;
    }
    deps.store.evidence.withdrawSerials(
      identities.map((identity) => identity.serialHex),
      deps.clock.now(),
    );
    subscriptions.drop(request.id);
  }
}

function judgeSubscription(context: SessionContext, subscription: Subscription): void {
  const { state, last, deps, subscriptions, entries } = context;
  const { request, containerId, identities } = subscription;
  if (last === undefined || subscriptions.get(request.id) !== subscription) return;
  if (!state.hasContainer(containerId)) {
    subscriptions.drop(request.id);
    return;
  }
  const verdict = state.judgeNow(request.record, last);
  const refusal = refuse(context, verdict, 0);
  if (refusal !== undefined) {
    withdrawContainer(context, containerId, refusal, verdict);
    return;
  }
  const earned = new Set(entries.match(verdict, 0).matches.map(({ entry }) => entry.id));
  const lost = identities.filter((identity) => !earned.has(identity.entryId));
  if (lost.length === 0) return;
  deps.store.evidence.withdrawSerials(
    lost.map((identity) => identity.serialHex),
    deps.clock.now(),
  );
  const kept = identities.filter((identity) => earned.has(identity.entryId));
  if (kept.length > 0) subscriptions.keep({ ...subscription, identities: kept });
  else withdrawContainer(context, containerId, goneEntry(verdict), verdict);
}

function goneEntry(verdict: Verdict): Refusal {
  const error = new LacreError(
    'server.entry.withdrawn',
    'the registration entry was deleted, or asks for something else now',
  );
  return refusalOf(error, verdictMessage(verdict));
}

/** Identities issued in an earlier session of the node are withdrawn with what is known now. */
function judgeEarlierSessions(context: SessionContext, concerned: (containerId: string) => boolean): void {
  const { state, last, deps, node, subscriptions } = context;
  if (last === undefined) return;
  const now = deps.clock.now();
  const held = new Set(subscriptions.all().map(({ containerId }) => containerId));
  const serials = deps.store.evidence.activeSerials(now, node.ekSha256Hex);
  for (const containerId of new Set(serials.map((serial) => serial.containerId))) {
    if (containerId === '' || held.has(containerId) || !state.hasContainer(containerId)) continue;
    if (!concerned(containerId)) continue;
    const verdict = state.judgeContainer(containerId, last);
    if (verdict.trusted) continue;
    const refusal = refuse(context, verdict, 0);
    if (refusal !== undefined) withdrawContainer(context, containerId, refusal, verdict);
  }
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
  for (const { request } of subscriptions.ofContainer(containerId)) subscriptions.drop(request.id);
  send(context, { case: 'withdrawal', value: { containerId, refusal } });
  const containerName = state.containerName(containerId);
  tell(deps, {
    kind: 'withdrawn',
    node: node.spiffeId,
    containerId,
    containerName,
    ...(verdict === undefined ? {} : { verdict: verdictMessage(verdict) }),
    sentence: `the identities of ${containerName || containerId} are withdrawn: ${refusal.sentence}`,
  });
}

/** Bad entries are on disk before anything else happens, so that a restart cannot forget them. */
function saveTaints(context: SessionContext): void {
  const { deps, node, fence, state, epoch } = context;
  const taints = state.unsavedTaints();
  if (taints.length === 0 || epoch === undefined || context.clock === undefined) return;
  deps.store.evidence.commitTaints({ ekSha256Hex: node.ekSha256Hex, fence, epoch: epoch.epoch, taints });
  state.taintsSaved(taints);
}
