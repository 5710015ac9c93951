import { existsSync } from 'node:fs';
import { connect } from 'node:net';
import type { DescService } from '@bufbuild/protobuf';
import { type Client, Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { LacreError } from '../lacre-error.ts';

/** Where `lacre server` listens for administration unless told otherwise. */
export const DEFAULT_ADMIN_SOCKET = '/run/lacre/server/admin.sock';

/** Calls to a server's admin socket: lacre.v1 and SPIRE's server API. Close it, or the process stays alive. */
export class AdminClient implements Disposable {
  readonly #socketPath: string;
  readonly #sessions: Http2SessionManager;
  readonly #transport;

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
    this.#sessions = new Http2SessionManager('http://localhost', {}, { createConnection: () => connect(socketPath) });
    this.#transport = createGrpcTransport({ baseUrl: 'http://localhost', sessionManager: this.#sessions });
  }

  service<T extends DescService>(service: T): Client<T> {
    return createClient(service, this.#transport);
  }

  /**
   * Runs calls and turns their faults into LacreError: cli.server.unreachable where nobody answers, cli.server.refused,
   * cli.server.missing and cli.server.failed by the gRPC status otherwise.
   */
  async call<T>(calls: () => Promise<T>): Promise<T> {
    try {
      return await calls();
    } catch (error) {
      throw this.#explain(error);
    }
  }

  [Symbol.dispose](): void {
    this.#sessions.abort();
  }

  #explain(error: unknown): unknown {
    if (!(error instanceof ConnectError)) return error;
    if (error.code === Code.Unavailable || error.code === Code.Internal) {
      const hint = existsSync(this.#socketPath)
        ? 'is it running, and may this user write to the socket?'
        : 'there is no such socket';
      if (error.code === Code.Unavailable || !existsSync(this.#socketPath)) {
        return new LacreError(
          'cli.server.unreachable',
          `no lacre server answers at ${this.#socketPath}: ${hint} (--socket names another one)`,
          { socket: this.#socketPath },
          { cause: error },
        );
      }
    }
    if (error.code === Code.NotFound)
      return new LacreError('cli.server.missing', error.rawMessage, {}, { cause: error });
    if (error.code === Code.InvalidArgument)
      return new LacreError('cli.server.invalid', error.rawMessage, {}, { cause: error });
    if (
      error.code === Code.AlreadyExists ||
      error.code === Code.PermissionDenied ||
      error.code === Code.FailedPrecondition
    ) {
      return new LacreError('cli.server.refused', error.rawMessage, {}, { cause: error });
    }
    return new LacreError('cli.server.failed', error.rawMessage, {}, { cause: error });
  }
}
