import { setTimeout as sleep } from 'node:timers/promises';
import { Code, ConnectError, type ConnectRouter } from '@connectrpc/connect';
import type { Event, NodeInfo } from '../proto/lacre/v1/admin_pb.ts';
import { NodeVerifier } from '../proto/lacre/v1/spire_pb.ts';
import { listNodes } from './admin-lacre-nodes.ts';
import { LIMITS } from './limits.ts';
import type { ServerDeps } from './server-deps.ts';
import { nodeVerification } from './verify-node.ts';

/** A look at all nodes is repeated after this, whatever happened. */
const LOOK_MS = 10_000;
/** Many changes at once are told together. */
const GATHER_MS = 100;
const HOSTS_PER_MESSAGE = 1000;
const REASON_CHARACTERS = 1000;

/**
 * lacre.v1.NodeVerifier: all that the plugins beside a spire-server may ask. It shows whose hosts are refused, and
 * changes nothing but what attestations themselves do.
 */
export function nodeVerifierRoutes(deps: ServerDeps): (router: ConnectRouter) => void {
  const watchers = { open: 0 };
  const service = {
    verifyNode: nodeVerification(deps),
    watchHosts: (_request: unknown, { signal }: { readonly signal: AbortSignal }) => watchHosts(deps, watchers, signal),
  };
  return (router) => router.service(NodeVerifier, service);
}

async function* watchHosts(deps: ServerDeps, watchers: { open: number }, signal: AbortSignal) {
  if (watchers.open >= LIMITS.watchers)
    throw new ConnectError(`${LIMITS.watchers} watchers are connected: the bound`, Code.ResourceExhausted);
  let wake = (): void => undefined;
  const told = ({ node }: Event): void => {
    if (node !== '') wake();
  };
  const changedNode = (): void => wake();
  watchers.open += 1;
  deps.events.on('told', told);
  deps.events.on('nodeChanged', changedNode);
  try {
    while (!signal.aborted) {
      const changed = new Promise<void>((resolve) => {
        wake = resolve;
      });
      yield* refusedHosts(deps);
      await within(LOOK_MS, changed, signal);
      await sleep(GATHER_MS, undefined, { signal }).catch(() => undefined);
    }
  } finally {
    deps.events.off('told', told);
    deps.events.off('nodeChanged', changedNode);
    watchers.open -= 1;
  }
}

function* refusedHosts(deps: ServerDeps) {
  const hosts = listNodes(deps)
    .nodes.filter(isRefused)
    .map((node) => ({ spiffeId: node.spiffeId, reason: reasonOf(node) }));
  let at = 0;
  do {
    const next = at + HOSTS_PER_MESSAGE;
    yield { hosts: hosts.slice(at, next), complete: next >= hosts.length };
    at = next;
  } while (at < hosts.length);
}

function isRefused({ state, host }: NodeInfo): boolean {
  return state === 'refused' || state === 'banned' || host?.trusted === false;
}

function reasonOf({ state, host }: NodeInfo): string {
  if (state === 'banned') return 'it is banned at the Lacre server';
  const reason = host?.findings.find(({ fatal }) => fatal)?.detail ?? 'its host is refused';
  return reason.slice(0, REASON_CHARACTERS);
}

/** Ends with the promise, the signal, or the time. */
async function within(ms: number, changed: Promise<void>, signal: AbortSignal): Promise<void> {
  const timer = new AbortController();
  const either = AbortSignal.any([signal, timer.signal]);
  await Promise.race([changed, sleep(ms, undefined, { signal: either }).catch(() => undefined)]);
  timer.abort();
}
