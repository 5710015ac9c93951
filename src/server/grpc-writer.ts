import { constants, type ServerHttp2Stream } from 'node:http2';
import type { ConnectError } from '@connectrpc/connect';
import { encodeFrame, errorTrailers, GRPC_HEAD, isOver, refuseCall } from '../grpc-call.ts';

/** From the status to the peer's own end of the call. */
const END_MS = 1_000;

/** The answer of one call: header, messages, and a trailer with the status. */
export class GrpcWriter {
  readonly #stream: ServerHttp2Stream;

  constructor(stream: ServerHttp2Stream) {
    this.#stream = stream;
  }

  /** Undefined where the peer takes more; otherwise resolves when it does, or is gone. */
  write(message: Uint8Array): Promise<void> | undefined {
    const stream = this.#stream;
    if (isOver(stream)) return undefined;
    if (!stream.headersSent) stream.respond(GRPC_HEAD, { waitForTrailers: true });
    return stream.write(encodeFrame(message)) ? undefined : this.#drained();
  }

  /** What the peer still sends is not waited for, or not for long. @param error undefined: all is said. */
  end(error: ConnectError | undefined): void {
    const stream = this.#stream;
    if (isOver(stream)) return;
    const trailers = error === undefined ? { 'grpc-status': '0' } : errorTrailers(error);
    if (stream.headersSent) {
      stream.once('wantTrailers', () => stream.sendTrailers(trailers));
      stream.end();
      const late = setTimeout(() => stream.close(constants.NGHTTP2_NO_ERROR), END_MS);
      stream.once('close', () => clearTimeout(late));
    } else {
      refuseCall(stream, trailers);
    }
  }

  #drained(): Promise<void> {
    const stream = this.#stream;
    return new Promise((resolve) => {
      const done = () => {
        stream.off('drain', done).off('close', done);
        resolve();
      };
      stream.on('drain', done).on('close', done);
    });
  }
}
