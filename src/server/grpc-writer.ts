import { constants, type OutgoingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import type { ConnectError } from '@connectrpc/connect';
import { CODE_TRAILER } from '../grpc-status.ts';
import { PREFIX_BYTES } from './grpc-reader.ts';

/** gRPC over HTTP/2, "Response-Headers". */
const HEAD = { [constants.HTTP2_HEADER_STATUS]: 200, 'content-type': 'application/grpc' } as const;
const MAX_STATUS_MESSAGE = 4_000;
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
    if (stream.destroyed) return undefined;
    if (!stream.headersSent) stream.respond(HEAD, { waitForTrailers: true });
    const frame = Buffer.allocUnsafe(PREFIX_BYTES + message.length);
    frame[0] = 0;
    frame.writeUInt32BE(message.length, 1);
    frame.set(message, PREFIX_BYTES);
    return stream.write(frame) ? undefined : this.#drained();
  }

  /** What the peer still sends is not waited for, or not for long. @param error undefined: all is said. */
  end(error: ConnectError | undefined): void {
    const stream = this.#stream;
    if (stream.destroyed) return;
    const trailers = error === undefined ? { 'grpc-status': '0' } : trailersOf(error);
    if (stream.headersSent) {
      stream.once('wantTrailers', () => stream.sendTrailers(trailers));
      stream.end();
      const late = setTimeout(() => stream.close(constants.NGHTTP2_NO_ERROR), END_MS);
      stream.once('close', () => clearTimeout(late));
    } else {
      stream.respond({ ...HEAD, ...trailers }, { endStream: true });
      stream.close(constants.NGHTTP2_NO_ERROR);
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

function trailersOf({ code, rawMessage, metadata }: ConnectError): OutgoingHttpHeaders {
  const own = metadata.get(CODE_TRAILER);
  return {
    'grpc-status': String(code),
    'grpc-message': encodeURIComponent(rawMessage.slice(0, MAX_STATUS_MESSAGE).toWellFormed()),
    ...(own !== null && { [CODE_TRAILER]: own }),
  };
}
