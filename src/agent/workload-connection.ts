import { constants, performServerHandshake, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import type { Logger } from 'pino';
import { isGrpcCall } from '../grpc-call.ts';
import { KeepAliveSweep, type KeptAlive } from '../http2-keep-alive.ts';
import { LacreError } from '../lacre-error.ts';
import { FrameReader } from './grpc-frame.ts';
import type { SessionLink } from './session-link.ts';
import { TurnSlices } from './turn-slices.ts';
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

export interface ConnectionDeps {
  readonly trustDomain: string;
  readonly link: SessionLink;
  readonly log: Logger;
  /** Throws where the peer can't be pinned; then the connection is refused. */
  pinCaller(socket: Socket): PinnedCaller;
}

const METHODS: ReadonlyMap<string, () => WorkloadAsk> = new Map([
  ['/SpiffeWorkloadAPI/FetchX509SVID', askX509Svid],
  ['/SpiffeWorkloadAPI/FetchX509Bundles', askBundle],
]);

const SESSION_OPTIONS = {
  maxSessionMemory: 2,
  maxHeaderListPairs: 64,
  maxSendHeaderBlockLength: 64 * 1024,
  maxOutstandingPings: 2,
  settings: { maxConcurrentStreams: WORKLOAD_LIMITS.streamsPerConnection, maxHeaderListSize: 16 * 1024 },
} as const;

/** All connections of a Workload API, and what they have together. */
export class WorkloadConnections {
  readonly deps: ConnectionDeps;
  readonly counter = new ConnectionCounter();
  readonly alive = new KeepAliveSweep(WORKLOAD_LIMITS);
  readonly slices = new TurnSlices();
  readonly #open = new Set<WorkloadConnection>();

  constructor(deps: ConnectionDeps) {
    this.deps = deps;
  }

  /** @param socket just accepted, and not read from yet */
  accept(socket: Socket): void {
    socket.on('error', () => socket.destroy());
    const caller = this.#pin(socket);
    if (caller === undefined) {
      socket.destroy();
      return;
    }
    if (!this.counter.enter(caller.uid)) {
      this.deps.log.warn({ uid: caller.uid }, 'a user has too many connections to the Workload API');
      caller.close();
      socket.destroy();
      return;
    }
    const connection = new WorkloadConnection(this, socket, caller);
    this.#open.add(connection);
    socket.on('close', () => {
      this.#open.delete(connection);
      this.counter.leave(caller.uid);
      caller.close();
      connection.destroy();
    });
    this.slices.add(() => connection.begin());
  }

  /** Streams go on to their ends; nothing new begins. */
  close(): void {
    for (const connection of this.#open) connection.close();
  }

  destroy(): void {
    for (const connection of this.#open) connection.destroy();
  }

  #pin(socket: Socket): PinnedCaller | undefined {
    try {
      return this.deps.pinCaller(socket);
    } catch (error) {
      const reason = error instanceof Error ? error.message : '';
      this.deps.log.warn({ reason }, 'a caller of the Workload API can not be pinned');
      return undefined;
    }
  }
}

/** One connection: HTTP/2 with the process that made it. */
class WorkloadConnection {
  readonly #all: WorkloadConnections;
  readonly #socket: Socket;
  readonly #caller: PinnedCaller;
  readonly #streams = new Set<ServerHttp2Stream>();
  #session: ServerHttp2Session | undefined;
  #kept: KeptAlive | undefined;

  constructor(all: WorkloadConnections, socket: Socket, caller: PinnedCaller) {
    this.#all = all;
    this.#socket = socket;
    this.#caller = caller;
  }

  /** Begins to speak HTTP/2, unless the connection is over already. */
  begin(): void {
    const socket = this.#socket;
    if (socket.destroyed) return;
    const session = performServerHandshake(socket, SESSION_OPTIONS);
    this.#session = session;
    this.#kept = this.#all.alive.add(session);
    session.on('close', () => this.destroy());
    session.on('error', () => this.destroy());
    session.on('stream', (stream, headers) => this.#answer(stream, headers));
    // Who says no more reads no more: an orderly end would be one more of everything.
    socket.on('end', () => this.destroy());
    socket.read(0);
  }

  close(): void {
    if (this.#session === undefined) this.#socket.destroy();
    else this.#session.close();
  }

  /** Again: does nothing. */
  destroy(): void {
    const session = this.#session;
    this.#session = undefined;
    if (this.#kept !== undefined) this.#all.alive.remove(this.#kept);
    this.#kept = undefined;
    // One by one, before the session: its own way to end them makes an error with a stack.
    for (const stream of this.#streams) stream.destroy();
    if (session === undefined) this.#socket.destroy();
    else session.destroy();
  }

  #answer(stream: ServerHttp2Stream, headers: Headers): void {
    const { counter, deps, slices } = this.#all;
    const { uid } = this.#caller;
    stream.on('error', () => undefined);
    const response = new GrpcResponse(stream);
    if (!counter.enterStream(uid)) {
      response.end(new LacreError('agent.workload.limit', 'too many streams are open on the Workload API'));
      return;
    }
    const kept = this.#kept;
    kept?.streamOpened();
    this.#streams.add(stream);
    stream.on('close', () => {
      this.#streams.delete(stream);
      kept?.streamClosed();
      counter.leaveStream(uid);
    });
    const { link, trustDomain, log } = deps;
    const refuse = (error: unknown) => {
      if (error instanceof LacreError) return response.end(error);
      log.error({ err: error }, 'a call to the Workload API failed');
      stream.close(constants.NGHTTP2_INTERNAL_ERROR);
    };
    try {
      const makeAsk = methodOf(headers);
      const served = new WorkloadStream({ link, caller: this.#caller, sink: response, trustDomain, log, makeAsk });
      readRequest(stream, (fault) => {
        if (fault === undefined) slices.add(() => void served.run());
        else refuse(fault);
      });
    } catch (error) {
      refuse(error);
    }
  }
}

type Headers = { readonly [name: string]: string | string[] | undefined };

/** Workload API 4 and 5: the method, and the header that no request forged through a browser or proxy has. */
function methodOf(headers: Headers): () => WorkloadAsk {
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

/**
 * Waits for the one request message; its fields mean nothing in this version of the API.
 * @param settle told once that it is there, or what is wrong with it
 */
function readRequest(stream: ServerHttp2Stream, settle: (fault?: unknown) => void): void {
  const reader = new FrameReader();
  let settled = false;
  const end = (fault?: unknown) => {
    if (settled) return;
    settled = true;
    clearTimeout(timer);
    settle(fault);
  };
  const late = () => end(new LacreError('agent.workload.message', 'the request message did not come in time'));
  const timer = setTimeout(late, WORKLOAD_LIMITS.requestMs);
  const ended = () => {
    if (!settled) end(new LacreError('agent.workload.message', 'the request ended before its message'));
  };
  stream.on('data', (bytes: Buffer) => {
    try {
      if (reader.push(bytes) !== undefined) end();
    } catch (error) {
      stream.pause();
      end(error);
    }
  });
  stream.on('end', ended);
  stream.on('close', ended);
}
