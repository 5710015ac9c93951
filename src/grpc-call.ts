import { constants, type IncomingHttpHeaders, type OutgoingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import type { ConnectError } from '@connectrpc/connect';
import { CODE_TRAILER } from './grpc-status.ts';

/** gRPC over HTTP/2, "Length-Prefixed-Message": one byte that says whether it is compressed, four of length, the message. */
export const PREFIX_BYTES = 5;
/** gRPC over HTTP/2, "Response-Headers". */
export const GRPC_HEAD = { [constants.HTTP2_HEADER_STATUS]: 200, 'content-type': 'application/grpc' } as const;
const MAX_STATUS_MESSAGE = 4_000;

/** Whether a call is one of gRPC's. */
export function isGrpcCall(headers: IncomingHttpHeaders): boolean {
  return headers[':method'] === 'POST' && /^application\/grpc(\+proto)?$/.test(headers['content-type'] ?? '');
}

/** A message as one frame, uncompressed. */
export function encodeFrame(message: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(PREFIX_BYTES + message.length);
  frame[0] = 0;
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, PREFIX_BYTES);
  return frame;
}

/** Status message as it stands in the trailer: percent-encoded outside printable ASCII (gRPC over HTTP/2, "Status-Message"). */
export function encodeStatusMessage(text: string): string {
  const bytes = Buffer.from(text, 'utf8');
  let encoded = '';
  for (const byte of bytes) {
    const plain = byte >= 0x20 && byte <= 0x7e && byte !== 0x25;
    encoded += plain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return encoded;
}

/** Trailers of a status. @param code ours; undefined: there is none. */
export function statusTrailers(status: number, message: string, code: string | undefined): OutgoingHttpHeaders {
  return {
    'grpc-status': String(status),
    'grpc-message': encodeStatusMessage(message.slice(0, MAX_STATUS_MESSAGE)),
    ...(code !== undefined && { [CODE_TRAILER]: code }),
  };
}

/** Trailers of an error, with our code where it has one. */
export function errorTrailers({ code, rawMessage, metadata }: ConnectError): OutgoingHttpHeaders {
  return statusTrailers(code, rawMessage, metadata.get(CODE_TRAILER) ?? undefined);
}

/** As a list: Node looks up nothing in it. */
const HEAD_LIST = Object.entries(GRPC_HEAD).flat().map(String);
/** No date: nobody reads it, and it is another one each second. */
const HEAD_OPTIONS = { waitForTrailers: true, sendDate: false } as const;

/** Begins the answer of a call that comes once for each workload; messages and trailers follow. */
export function beginAnswer(stream: ServerHttp2Stream): void {
  stream.respond(HEAD_LIST, HEAD_OPTIONS);
}

/** Whether nothing can be answered any more: Node throws where that is tried on a stream that is closed. */
export function isOver(stream: ServerHttp2Stream): boolean {
  return stream.closed || stream.destroyed;
}

/** Ends a call that nothing was answered to; what the caller still sends is not waited for. */
export function refuseCall(stream: ServerHttp2Stream, trailers: OutgoingHttpHeaders): void {
  stream.respond({ ...GRPC_HEAD, ...trailers }, { endStream: true });
  stream.close(constants.NGHTTP2_NO_ERROR);
}
