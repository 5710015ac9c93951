import { constants, type IncomingHttpHeaders, type OutgoingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { CODE_TRAILER } from '../grpc-status.ts';
import { encodeStatusMessage } from './grpc-frame.ts';

/** gRPC over HTTP/2, "Response-Headers". */
export const GRPC_HEAD = { [constants.HTTP2_HEADER_STATUS]: 200, 'content-type': 'application/grpc' } as const;
const MAX_STATUS_MESSAGE = 4_000;

/** Whether a call is one of gRPC's. */
export function isGrpcCall(headers: IncomingHttpHeaders): boolean {
  return headers[':method'] === 'POST' && /^application\/grpc(\+proto)?$/.test(headers['content-type'] ?? '');
}

/** Trailers of a status. @param code ours; undefined: there is none. */
export function statusTrailers(status: number, message: string, code: string | undefined): OutgoingHttpHeaders {
  return {
    'grpc-status': String(status),
    'grpc-message': encodeStatusMessage(message.slice(0, MAX_STATUS_MESSAGE)),
    ...(code !== undefined && { [CODE_TRAILER]: code }),
  };
}

/** Ends a call that nothing was answered to; what the caller still sends is not waited for. */
export function refuseCall(stream: ServerHttp2Stream, trailers: OutgoingHttpHeaders): void {
  stream.respond({ ...GRPC_HEAD, ...trailers }, { endStream: true });
  stream.close(constants.NGHTTP2_NO_ERROR);
}
