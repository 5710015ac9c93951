import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { isGrpcCall } from '../grpc-call.ts';
import {
  type AttestRequest,
  AttestRequestSchema,
  type AttestResponse,
  AttestResponseSchema,
} from '../proto/lacre/v1/node_pb.ts';
import { GrpcReader } from './grpc-reader.ts';
import { GrpcWriter } from './grpc-writer.ts';
import { LIMITS } from './limits.ts';
import type { NodePeer } from './node-listener-peer.ts';
import { statusOf } from './session-status.ts';

/** A call of lacre.v1.Node.Attest. */
export interface AttestCall {
  readonly peer: NodePeer | undefined;
  /** Rejects with what the peer did wrong. */
  readonly incoming: AsyncIterator<AttestRequest>;
  /** Aborts when the call or its connection is over. */
  readonly signal: AbortSignal;
  /** Undefined where the peer takes more; otherwise resolves when it does. */
  readonly write: (message: AttestResponse) => Promise<void> | undefined;
}

/** Whether a call is Attest in gRPC's form; any other is somebody else's to answer. */
export function isAttestCall(headers: IncomingHttpHeaders): boolean {
  return headers[':path'] === '/lacre.v1.Node/Attest' && isGrpcCall(headers);
}

/**
 * Serves Attest on node:http2 itself: it is open for as long as a node is, for thousands of them, and Connect keeps half as
 * much for each as all that is known of the node.
 * @param attest rejects with the status that the peer is told
 */
export async function serveAttest(
  stream: ServerHttp2Stream,
  peer: NodePeer | undefined,
  attest: (call: AttestCall) => Promise<void>,
): Promise<void> {
  const over = new AbortController();
  stream.on('error', () => undefined);
  stream.once('close', () => over.abort());
  const reader = new GrpcReader(stream, LIMITS.messageBytes);
  const writer = new GrpcWriter(stream);
  const next = async (): Promise<IteratorResult<AttestRequest>> => {
    const found = await reader.next();
    return found.done === true ? found : { done: false, value: fromBinary(AttestRequestSchema, found.value) };
  };
  const write = (message: AttestResponse) => writer.write(toBinary(AttestResponseSchema, message));
  try {
    await attest({ peer, incoming: { next }, signal: over.signal, write });
    writer.end(undefined);
  } catch (error) {
    writer.end(statusOf(error));
  }
}
