import { connect } from 'node:net';
import type { DescService } from '@bufbuild/protobuf';
import { type Client, createClient } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';

const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;

/** gRPC to a unix socket; connected when it is used, and anew when it was lost. */
export class UnixClient implements Disposable {
  readonly #sessions: Http2SessionManager;
  readonly #transport;

  constructor(path: string) {
    this.#sessions = new Http2SessionManager('http://localhost', {}, { createConnection: () => connect(path) });
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
