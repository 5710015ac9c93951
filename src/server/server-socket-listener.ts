import { createServer, type ServerHttp2Session } from 'node:http2';
import type { ConnectRouter } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { type KeepAlive, keepAlive } from '../http2-keep-alive.ts';
import { listenOnSocket } from './server-socket.ts';

/** Files of an approved image travel in messages of 4096 each. */
const READ_MAX_BYTES = 4 * 1024 * 1024;
const CLOSE_MS = 1000;
/** Who may open the socket is no enemy, but may be broken. */
const MAX_CONNECTIONS = 1024;
/** A client that reads a large image may not answer for a while. */
const KEEP_ALIVE: KeepAlive = { pingMs: 180_000, idleMs: 60_000 };

/** An API on a unix socket, listening. */
export interface SocketListener {
  readonly socket: string;
  /** Lets calls in flight end, for a second at most. */
  close(): Promise<void>;
}

/**
 * Serves gRPC on HTTP/2 in clear text on a unix socket. Who may open the socket may call all of it; there is no other
 * check. Codes: server.socket.busy, server.socket.failed.
 * Connections without a stream, and those that answer no ping, end.
 * @param place the socket (0600), and a group whose members may open it, too (0660)
 */
export async function startSocketListener(
  place: { readonly socket: string; readonly group?: string | undefined },
  routes: readonly ((router: ConnectRouter) => void)[],
  limits = KEEP_ALIVE,
): Promise<SocketListener> {
  const sessions = new Set<ServerHttp2Session>();
  const server = createServer(
    { settings: { maxConcurrentStreams: 100, maxHeaderListSize: 16 * 1024 } },
    connectNodeAdapter({
      routes: (router) => {
        for (const route of routes) route(router);
      },
      connect: false,
      grpcWeb: false,
      readMaxBytes: READ_MAX_BYTES,
      fallback: answerUnknown,
    }),
  );
  server.on('session', (session) => {
    sessions.add(session);
    session.on('close', () => sessions.delete(session));
    session.on('error', () => session.destroy());
    keepAlive(session, limits);
  });
  server.maxConnections = MAX_CONNECTIONS;
  try {
    await listenOnSocket(server, place.socket, place.group);
  } catch (error) {
    server.close();
    throw error;
  }
  return { socket: place.socket, close: () => closed(server, sessions) };
}

/** A method that is not served: UNIMPLEMENTED, as gRPC clients expect it (a plain 404 reads as a broken server). */
const answerUnknown: NonNullable<Parameters<typeof connectNodeAdapter>[0]['fallback']> = (request, response) => {
  // Set one by one: with nothing sent before `end`, they go out as the trailers that gRPC looks for.
  response.statusCode = 200;
  response.setHeader('content-type', 'application/grpc');
  response.setHeader('grpc-status', '12');
  response.setHeader('grpc-message', `lacre does not serve ${encodeURI(request.url ?? '').slice(0, 256)}`);
  response.end();
};

function closed(server: ReturnType<typeof createServer>, sessions: Set<ServerHttp2Session>): Promise<void> {
  return new Promise((resolve) => {
    const last = setTimeout(() => {
      for (const session of sessions) session.destroy();
    }, CLOSE_MS);
    server.close(() => {
      clearTimeout(last);
      resolve();
    });
    for (const session of sessions) session.close();
  });
}
