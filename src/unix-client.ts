import { connect, type Socket } from 'node:net';
import type { DescService } from '@bufbuild/protobuf';
import { type Client, createClient } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { descriptorOf } from './socket-descriptor.ts';

const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;

/**
 * Looks at who listens at the other end of a descriptor: true, it may be spoken to; false, nobody is there. Throws where
 * it is somebody else.
 */
export type PeerCheck = (fd: number) => boolean;

/**
 * gRPC to a unix socket; connected when it is used, and anew when it was lost. With a check, each connection's peer is
 * looked at before a byte is sent, and calls fail with what the check threw.
 */
export class UnixClient implements Disposable {
  readonly #sessions: Http2SessionManager;
  readonly #transport;

  constructor(path: string, check?: PeerCheck) {
    const createConnection = () => (check === undefined ? connect(path) : connectChecked(path, check));
    this.#sessions = new Http2SessionManager('http://localhost', {}, { createConnection });
    this.#transport = createGrpcTransport({
      baseUrl: 'http://localhost',
      sessionManager: this.#sessions,
      readMaxBytes: MAX_MESSAGE_BYTES,
      acceptCompression: [],
    });
  }

  service<T extends DescService>(service: T): Client<T> {
    return createClient(service, this.#transport);
  }

  [Symbol.dispose](): void {
    this.#sessions.abort();
  }
}

/**
 * A unix socket is connected when connect(2) returns, or not at all, so its peer is known at once. Not by destroying it when
 * it says that it is connected: Node's HTTP/2 ends the process then.
 */
function connectChecked(path: string, check: PeerCheck): Socket {
  const socket = connect(path);
  try {
    if (check(descriptorOf(socket))) return socket;
  } catch (error) {
    socket.destroy();
    throw error;
  }
  // Its error is on the way. Should it get a peer after all, nobody has looked at that one.
  socket.once('connect', () => setImmediate(() => socket.destroy(new Error(`who listens on ${path} is unknown`))));
  return socket;
}
