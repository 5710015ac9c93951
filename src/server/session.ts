import { type VerifiedX509Svid, verifyX509Svid } from '../identity/x509-svid.ts';
import { LacreError } from '../lacre-error.ts';
import type { AttestHello, AttestRequest } from '../proto/lacre/v1/node_pb.ts';
import type { AttestCall } from './attest-call.ts';
import { LIMITS } from './limits.ts';
import type { NodePeer } from './node-listener-peer.ts';
import type { ServerDeps } from './server-deps.ts';
import type { SessionRegistry } from './session-registry.ts';
import { nextMessage, statusOf } from './session-status.ts';
import { Session } from './session-stream.ts';
import type { NodeRow } from './store-nodes.ts';

/**
 * lacre.v1.Node.Attest: one session of an enrolled node. The connection's client certificate must be an agent's SVID
 * of ours whose node is in the inventory and not banned; the session ends with the certificate at the latest.
 */
export async function attest(deps: ServerDeps, registry: SessionRegistry, call: AttestCall): Promise<void> {
  const { peer, incoming } = call;
  try {
    authenticate(deps, peer);
    registry.requireRoom();
    const session = await openSession(deps, peer, incoming);
    registry.open(session);
    try {
      await session.run(call);
    } finally {
      registry.closed(session);
    }
  } catch (error) {
    if (!call.signal.aborted) logEnd(deps, error);
    throw statusOf(error);
  }
}

/** Of its own, so that nothing of the hello, which holds the event log, is kept for the life of the session. */
async function openSession(
  deps: ServerDeps,
  peer: NodePeer | undefined,
  incoming: AsyncIterator<AttestRequest>,
): Promise<Session> {
  const hello = await firstHello(incoming);
  // Whoever waited for the hello may have been banned meanwhile, or has another key.
  const { node, svid } = authenticate(deps, peer);
  const exporter = peer?.exporter ?? new Uint8Array();
  return Session.open(deps, { node, svid, exporter, hello, widen: () => peer?.widen() });
}

/** Codes: server.node.unauthenticated, server.node.missing, server.node.banned, identity.*. */
export function authenticate(
  deps: ServerDeps,
  peer: NodePeer | undefined,
): { readonly node: NodeRow; readonly svid: VerifiedX509Svid } {
  if (peer?.certificate === undefined) {
    throw new LacreError('server.node.unauthenticated', 'the node showed no certificate: it must enrol first');
  }
  const svid = verifyX509Svid({ chain: [peer.certificate], bundle: deps.keeper.bundle(), now: deps.clock.now() });
  const node = deps.store.nodes.bySpiffeId(svid.spiffeId.uri);
  if (node === undefined) {
    throw new LacreError('server.node.missing', `${svid.spiffeId.uri} is not in the inventory: lacre node add`);
  }
  if (deps.store.evidence.serial(svid.serialHex)?.withdrawnAt !== undefined) {
    throw new LacreError('server.node.unauthenticated', `this SVID of ${svid.spiffeId.uri} was withdrawn: enrol again`);
  }
  if (node.banned) throw new LacreError('server.node.banned', `node ${svid.spiffeId.uri} is banned`);
  if (node.akPublic === undefined) {
    throw new LacreError('server.node.unauthenticated', `node ${svid.spiffeId.uri} must enrol again`);
  }
  return { node, svid };
}

async function firstHello(incoming: AsyncIterator<AttestRequest>): Promise<AttestHello> {
  const first = await withTimeout(nextMessage(incoming), LIMITS.helloMs, 'the node said no hello in time');
  if (first.done === true || first.value.message.case !== 'hello') {
    throw new LacreError('server.protocol', 'a session begins with a hello');
  }
  return first.value.message.value;
}

/** Codes: server.timeout, with the sentence. */
export async function withTimeout<T>(work: Promise<T>, timeoutMs: number, sentence: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new LacreError('server.timeout', sentence)), timeoutMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

function logEnd(deps: ServerDeps, error: unknown): void {
  if (error instanceof LacreError)
    deps.log.warn({ code: error.code, ...error.details }, `a session ended: ${error.message}`);
  else deps.log.error({ err: error }, 'a session failed');
}
