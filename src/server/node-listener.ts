import { constants } from 'node:crypto';
import {
  createSecureServer,
  type Http2SecureServer,
  Http2ServerRequest,
  Http2ServerResponse,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import { createContextValues } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { keepAlive } from '../http2-keep-alive.ts';
import { LacreError } from '../lacre-error.ts';
import { Node } from '../proto/lacre/v1/node_pb.ts';
import { isAttestCall, serveAttest } from './attest-call.ts';
import { enrol } from './enrolment.ts';
import { EnrolmentGate } from './enrolment-gate.ts';
import { readEndorsementRoots } from './enrolment-roots.ts';
import { LIMITS } from './limits.ts';
import { type NodePeer, PEER, peerOf } from './node-listener-peer.ts';
import type { ServerDeps } from './server-deps.ts';
import { attest } from './session.ts';
import { SessionRegistry } from './session-registry.ts';

export interface NodeListener {
  /** Resolves to where it listens. */
  listen(address: { readonly host: string; readonly port: number }): Promise<AddressInfo>;
  /** Ends every session with UNAVAILABLE, and waits until all connections are gone. */
  close(): Promise<void>;
}

/**
 * The side of the server that nodes reach: `lacre.v1.Node` on HTTP/2 over TLS 1.3, without resumption. The server's
 * certificate is its X.509-SVID; it follows the authority's rotation. Certificates of clients are asked for and proven
 * by TLS, and verified by the calls themselves (Enrol has none yet).
 * Throws server.config.invalid where an endorsement root cannot be read.
 */
export function createNodeListener(deps: ServerDeps): NodeListener {
  const registry = new SessionRegistry(deps);
  const roots = readEndorsementRoots(deps.config.endorsement.roots);
  const gate = new EnrolmentGate(roots, Math.min(deps.config.limits.concurrentEnrolments, LIMITS.enrolments));
  const server = createSecureServer(tlsOptions(deps));
  const connections = guard(server, deps);
  const { peers } = connections;
  const answer = handler(deps, { gate, peers });
  server.on(
    'stream',
    (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, _flags: number, rawHeaders: string[]) => {
      if (!isAttestCall(headers)) {
        answer(new Http2ServerRequest(stream, headers, {}, rawHeaders), new Http2ServerResponse(stream));
        return;
      }
      const peer = peers.get(stream.session as ServerHttp2Session);
      void serveAttest(stream, peer, (call) => attest(deps, registry, call));
    },
  );
  const rotate = () => server.setSecureContext(tlsOptions(deps));
  deps.events.on('bundleChanged', rotate);
  return {
    listen: (address) => listen(server, address, deps.config.limits.sessions),
    close: async () => {
      deps.events.off('bundleChanged', rotate);
      registry.close(new LacreError('server.stopping', 'the server is stopping'));
      await closed(server, connections);
    },
  };
}

function tlsOptions(deps: ServerDeps) {
  const { certificateChainPem, privateKeyPem } = deps.keeper.serverIdentity();
  return {
    cert: certificateChainPem,
    key: privateKeyPem,
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
    // Tickets then only name a session that nobody kept: none is ever resumed.
    secureOptions: constants.SSL_OP_NO_TICKET,
    requestCert: true,
    rejectUnauthorized: false,
    // Protocols that are given as a list are copied for each connection, into memory that is shared with what passes by.
    ALPNCallback: ({ protocols }: { readonly protocols: readonly string[] }) => protocols.find((name) => name === 'h2'),
    handshakeTimeout: LIMITS.handshakeMs,
    unknownProtocolTimeout: 1,
    maxSessionMemory: 32,
    settings: { maxConcurrentStreams: 4, initialWindowSize: LIMITS.windowBytes, maxHeaderListSize: 16 * 1024 },
  } as const;
}

interface Shared {
  readonly gate: EnrolmentGate;
  readonly peers: WeakMap<ServerHttp2Session, NodePeer>;
}

/** All calls but Attest. */
function handler(deps: ServerDeps, { gate, peers }: Shared) {
  return connectNodeAdapter({
    routes: (router) => {
      // Anybody may send what Enrol reads: no more than a chunk.
      router.rpc(Node.method.enrol, (requests, context) => enrol(deps, gate, requests, context), {
        readMaxBytes: LIMITS.enrolMessageBytes,
      });
    },
    connect: false,
    grpcWeb: false,
    acceptCompression: [],
    readMaxBytes: LIMITS.messageBytes,
    contextValues: (request) => {
      const session = (request as Http2ServerRequest).stream.session as ServerHttp2Session | undefined;
      return createContextValues().set(PEER, session === undefined ? undefined : peers.get(session));
    },
  });
}

interface Connections {
  readonly peers: WeakMap<ServerHttp2Session, NodePeer>;
  readonly sessions: Set<ServerHttp2Session>;
  /** Every connection, those in their handshake too. */
  readonly sockets: Set<Socket>;
}

/** Bounds on connections: how many, from where, and how long one may stand idle or silent. */
function guard(server: Http2SecureServer, deps: ServerDeps): Connections {
  const peers = new WeakMap<ServerHttp2Session, NodePeer>();
  const sessions = new Set<ServerHttp2Session>();
  const perAddress = new Map<string, number>();
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    countAddress(socket, perAddress);
  });
  server.on('tlsClientError', (error) => deps.log.debug({ reason: error.message }, 'a TLS handshake failed'));
  server.on('sessionError', (error: Error) => deps.log.debug({ reason: error.message }, 'a connection failed'));
  server.on('session', (session) => {
    try {
      peers.set(session, peerOf(session));
    } catch (error) {
      deps.log.warn({ reason: error instanceof Error ? error.message : '' }, 'a connection was refused');
      session.destroy();
      return;
    }
    sessions.add(session);
    session.on('close', () => sessions.delete(session));
    session.on('error', () => session.destroy());
    keepAlive(session, LIMITS);
  });
  return { peers, sessions, sockets };
}

function countAddress(socket: Socket, perAddress: Map<string, number>): void {
  const address = socket.remoteAddress ?? '';
  const count = (perAddress.get(address) ?? 0) + 1;
  if (count > LIMITS.connectionsPerAddress) {
    socket.destroy();
    return;
  }
  perAddress.set(address, count);
  socket.once('close', () => {
    const left = (perAddress.get(address) ?? 1) - 1;
    if (left === 0) perAddress.delete(address);
    else perAddress.set(address, left);
  });
}

function listen(
  server: Http2SecureServer,
  address: { host: string; port: number },
  sessions: number,
): Promise<AddressInfo> {
  return new Promise((resolve, reject) => {
    server.maxConnections = sessions + LIMITS.connections;
    server.once('error', reject);
    server.listen(address.port, address.host, () => {
      server.off('error', reject);
      resolve(server.address() as AddressInfo);
    });
  });
}

function closed(server: Http2SecureServer, { sessions, sockets }: Connections): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    for (const session of sessions) session.close();
    setTimeout(() => {
      for (const session of sessions) session.destroy();
      for (const socket of sockets) socket.destroy();
    }, 1000).unref();
  });
}
