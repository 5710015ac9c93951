import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import type { ConnectError } from '@connectrpc/connect';
import { FrameReader } from '../agent/grpc-frame.ts';
import type { TurnSlices } from '../agent/turn-slices.ts';
import { beginAnswer, encodeFrame, errorTrailers, isGrpcCall, isOver, refuseCall } from '../grpc-call.ts';
import { LacreError } from '../lacre-error.ts';

/** A unary method that SPIRE calls for each workload, served on node:http2 itself: Connect costs three times as much. */
export interface PlainUnary {
  /** "/package.Service/Method" */
  readonly path: string;
  /** Takes and gives a protobuf message. Rejects with what `statusOf` understands. */
  answer(request: Uint8Array): Promise<Uint8Array>;
}

/** Whether a call is one of this method, in gRPC's form; any other call is somebody else's to answer. */
export function isCallOf(method: PlainUnary | undefined, headers: IncomingHttpHeaders): method is PlainUnary {
  return headers[':path'] === method?.path && isGrpcCall(headers);
}

export interface PlainUnaryDeps {
  readonly method: PlainUnary;
  readonly statusOf: (error: unknown) => ConnectError;
  /** Of all calls. */
  readonly turns: TurnSlices;
}

const OK_TRAILERS = { 'grpc-status': '0' } as const;

/**
 * Reads the request's one message, and sends the answer's or a status; never throws. gRPC over HTTP/2, "Requests" and
 * "Responses".
 */
export function servePlainUnary(stream: ServerHttp2Stream, { method, statusOf, turns }: PlainUnaryDeps): void {
  const reader = new FrameReader();
  let isTaken = false;
  const fail = (error: unknown): void => {
    isTaken = true;
    if (isOver(stream) || stream.headersSent) return;
    refuseCall(stream, errorTrailers(statusOf(error)));
  };
  stream.on('error', () => undefined);
  stream.on('data', (bytes: Buffer) => {
    try {
      const message = reader.push(bytes);
      if (message === undefined || isTaken) return;
      isTaken = true;
      turns.add(() => {
        if (!isOver(stream)) method.answer(message).then((answer) => finish(stream, answer), fail);
      });
    } catch (error) {
      stream.pause();
      fail(error);
    }
  });
  stream.once('end', () => {
    if (!isTaken) fail(new LacreError('agent.workload.message', 'the request ended before its message'));
  });
}

function finish(stream: ServerHttp2Stream, answer: Uint8Array): void {
  if (isOver(stream)) return;
  beginAnswer(stream);
  stream.once('wantTrailers', () => stream.sendTrailers(OK_TRAILERS));
  stream.end(encodeFrame(answer));
}
