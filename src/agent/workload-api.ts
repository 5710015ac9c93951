import { chmod, mkdir, rm, stat } from 'node:fs/promises';
import { constants, performServerHandshake, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import type { Logger } from 'pino';
import { isGrpcCall } from '../grpc-call.ts';
import { keepAlive } from '../http2-keep-alive.ts';
import { LacreError } from '../lacre-error.ts';
import { FrameReader } from './grpc-frame.ts';
import type { SessionLink } from './session-link.ts';
import { ConnectionCounter, WORKLOAD_LIMITS } from './workload-api-limits.ts';
import { GrpcResponse } from './workload-api-response.ts';
import { type WorkloadCaller, WorkloadStream } from './workload-stream.ts';
import { askBundle, askX509Svid, type WorkloadAsk } from './workload-stream-kind.ts';

/** The process at the other end of an accepted connection. */
export interface PinnedCaller extends WorkloadCaller {
  /** On the host, from SO_PEERCRED. */
  readonly uid: number;
  /** Gives the pin up; the connection is over. */
  close(): void;
}

export interface WorkloadApiDeps {
  readonly path: string;
  readonly trustDomain: string;
  readonly link: SessionLink;
  readonly log: Logger;
  /** Throws where the peer can't be pinned; then the connection is refused. */
  pinCaller(socket: Socket): PinnedCaller;
}

export interface WorkloadApi {
  close(): Promise<void>;
}

const METHODS: ReadonlyMap<string, () => WorkloadAsk> = new Map([
  ['/SpiffeWorkloadAPI/FetchX509SVID', askX509Svid],
  ['/SpiffeWorkloadAPI/FetchX509Bundles', askBundle],
]);

/**
 * Serves the SPIFFE Workload API (X.509 profile) on a unix socket that every process of the node may open: what a caller
 * gets is decided by who it is. Resolves when it listens. Codes: agent.workload.socket.
 */
export async function serveWorkloadApi(deps: WorkloadApiDeps): Promise<WorkloadApi> {
  const sessions = new Set<ServerHttp2Session>();
  const counter = new ConnectionCounter();
  const server = createServer((socket) => accept(deps, socket, sessions, counter));
  server.maxConnections = WORKLOAD_LIMITS.connections;
  await listen(server, deps.path);
  server.on('error', (error) => deps.log.error({ err: error }, "the Workload API's socket failed"));
  const close = async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    for (const session of sessions) session.close();
    setTimeout(() => {
      for (const session of sessions) session.destroy();
    }, 500).unref();
    await closed;
  };
  return { close };
}

function accept(
  deps: WorkloadApiDeps,
  socket: Socket,
  sessions: Set<ServerHttp2Session>,
  counter: ConnectionCounter,
): void {
  socket.on('error', () => socket.destroy());
  let caller: PinnedCaller;
  try {
    caller = deps.pinCaller(socket);
  } catch (error) {
    deps.log.warn(
      { reason: error instanceof Error ? error.message : '' },
      'a caller of the Workload API can not be pinned',
    );
    socket.destroy();
    return;
  }
  let session: ServerHttp2Session | undefined;
  socket.once('close', () => {
    caller.close();
    // Before Node's own way to end it, which makes an error with a stack for every stream.
    session?.destroy();
  });
  if (!counter.enter(caller.uid)) {
    deps.log.warn({ uid: caller.uid }, 'a user has too many connections to the Workload API');
    socket.destroy();
    return;
  }
  socket.once('close', () => counter.leave(caller.uid));
  const opened = performServerHandshake(socket, SESSION_OPTIONS);
  session = opened;
  sessions.add(opened);
  opened.once('close', () => {
    sessions.delete(opened);
    socket.destroy();
  });
  opened.on('error', () => opened.destroy());
  opened.on('stream', (stream, headers) => {
    handleStream(deps, caller, counter, stream, headers).catch((error: unknown) => {
      deps.log.error({ err: error }, 'a call to the Workload API failed');
      stream.close(constants.NGHTTP2_INTERNAL_ERROR);
    });
  });
  keepAlive(opened, WORKLOAD_LIMITS);
}

const SESSION_OPTIONS = {
  maxSessionMemory: 2,
  maxHeaderListPairs: 64,
  maxSendHeaderBlockLength: 64 * 1024,
  maxOutstandingPings: 2,
  settings: { maxConcurrentStreams: WORKLOAD_LIMITS.streamsPerConnection, maxHeaderListSize: 16 * 1024 },
} as const;

async function handleStream(
  deps: WorkloadApiDeps,
  caller: PinnedCaller,
  counter: ConnectionCounter,
  stream: ServerHttp2Stream,
  headers: { readonly [name: string]: string | string[] | undefined },
): Promise<void> {
  stream.on('error', () => undefined);
  const response = new GrpcResponse(stream);
  if (!counter.enterStream(caller.uid)) {
    return response.end(new LacreError('agent.workload.limit', 'too many streams are open on the Workload API'));
  }
  stream.once('close', () => counter.leaveStream(caller.uid));
  try {
    const makeAsk = methodOf(headers);
    await readRequest(stream);
    const { link, trustDomain, log } = deps;
    await new WorkloadStream({ link, caller, sink: response, trustDomain, log, makeAsk }).run();
  } catch (error) {
    if (!(error instanceof LacreError)) throw error;
    response.end(error);
  }
}

/** Workload API 4 and 5: the method, and the header that no request forged through a browser or proxy has. */
function methodOf(headers: { readonly [name: string]: string | string[] | undefined }): () => WorkloadAsk {
  if (headers['workload.spiffe.io'] !== 'true') {
    throw new LacreError('agent.workload.header', 'security header missing from request');
  }
  const path = headers[':path'];
  if (!isGrpcCall(headers)) {
    throw new LacreError('agent.workload.message', 'a call to the Workload API is a POST of application/grpc');
  }
  const makeAsk = typeof path === 'string' ? METHODS.get(path) : undefined;
  if (makeAsk !== undefined) return makeAsk;
  throw new LacreError('agent.workload.method', `there is no method ${JSON.stringify(String(path).slice(0, 100))}`);
}

/** Waits for the one request message; its fields mean nothing in this version of the API. */
function readRequest(stream: ServerHttp2Stream): Promise<void> {
  return new Promise((resolve, reject) => {
    const reader = new FrameReader();
    let settled = false;
    const settle = (error?: unknown) => {
      settled = true;
      clearTimeout(timer);
      if (error === undefined) resolve();
      else reject(error);
    };
    const late = () => settle(new LacreError('agent.workload.message', 'the request message did not come in time'));
    const timer = setTimeout(late, WORKLOAD_LIMITS.requestMs);
    const ended = () => {
      if (!settled) settle(new LacreError('agent.workload.message', 'the request ended before its message'));
    };
    stream.on('data', (bytes: Buffer) => {
      try {
        if (reader.push(bytes) !== undefined) settle();
      } catch (error) {
        settle(error);
        stream.pause();
      }
    });
    stream.once('end', ended);
    stream.once('close', ended);
  });
}

async function listen(server: Server, path: string): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o755 });
    await removeStale(path);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, () => {
        server.off('error', reject);
        resolve();
      });
    });
    await chmod(path, 0o777);
  } catch (cause) {
    if (cause instanceof LacreError) throw cause;
    const reason = (cause as NodeJS.ErrnoException).code ?? String(cause);
    throw new LacreError(
      'agent.workload.socket',
      `workload_socket ${path} can't be made: ${reason}`,
      { path },
      { cause },
    );
  }
}

/** A socket that a killed agent left behind goes; one that somebody listens on stays. */
async function removeStale(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined) return;
  if (!found.isSocket()) throw new LacreError('agent.workload.socket', `${path} is there and is no socket`, { path });
  const alive = await new Promise<boolean>((resolve) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false));
  });
  if (alive) throw new LacreError('agent.workload.socket', `another program serves ${path}`, { path });
  await rm(path, { force: true });
}
