import { constants, type ServerHttp2Stream } from 'node:http2';
import { beginAnswer, encodeFrame, isOver, refuseCall, statusTrailers } from '../grpc-call.ts';
import { GRPC_STATUS_NUMBER } from '../grpc-status.ts';
import type { LacreError } from '../lacre-error.ts';
import type { WorkloadSink } from './workload-stream.ts';

/** What may wait in a stream's buffer for a client that reads slowly. */
const MAX_BUFFERED_BYTES = 128 * 1024;

/** The answer of one call as gRPC over HTTP/2: header, messages, and a trailer with the status. */
export class GrpcResponse implements WorkloadSink {
  readonly #stream: ServerHttp2Stream;
  #started = false;
  #ended = false;

  constructor(stream: ServerHttp2Stream) {
    this.#stream = stream;
  }

  onClose(listener: () => void): void {
    if (this.#stream.destroyed) listener();
    else this.#stream.once('close', listener);
  }

  write(message: Uint8Array): boolean {
    const stream = this.#stream;
    if (this.#ended || isOver(stream)) return false;
    if (stream.writableLength > MAX_BUFFERED_BYTES) {
      this.#ended = true;
      stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
      return false;
    }
    if (!this.#started) {
      this.#started = true;
      beginAnswer(stream);
    }
    stream.write(encodeFrame(message));
    return true;
  }

  end(error: LacreError): void {
    const stream = this.#stream;
    if (this.#ended || isOver(stream)) return;
    this.#ended = true;
    const trailers = statusTrailers(GRPC_STATUS_NUMBER[error.grpcStatus], error.message, error.code);
    if (!this.#started) {
      refuseCall(stream, trailers);
      return;
    }
    stream.once('wantTrailers', () => stream.sendTrailers(trailers));
    stream.end();
  }
}
