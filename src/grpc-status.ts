import type { GrpcStatus } from './error-code.ts';

/** Numbers of google.rpc.Code, which are those of @connectrpc/connect's `Code` as well. */
export const GRPC_STATUS_NUMBER = {
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  UNAUTHENTICATED: 16,
} as const satisfies Record<GrpcStatus, number>;

/** Trailer that holds the error code of src/error-code.ts, so that the other side can branch on it. */
export const CODE_TRAILER = 'lacre-code';
