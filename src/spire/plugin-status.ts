import { Code, ConnectError } from '@connectrpc/connect';
import type { Logger } from 'pino';
import { faultOfCall } from '../agent/connection-fault.ts';
import type { GrpcStatus } from '../error-code.ts';
import { isLacreError, type LacreError } from '../lacre-error.ts';

const CODES: Readonly<Record<GrpcStatus, Code>> = {
  INVALID_ARGUMENT: Code.InvalidArgument,
  NOT_FOUND: Code.NotFound,
  ALREADY_EXISTS: Code.AlreadyExists,
  PERMISSION_DENIED: Code.PermissionDenied,
  RESOURCE_EXHAUSTED: Code.ResourceExhausted,
  FAILED_PRECONDITION: Code.FailedPrecondition,
  ABORTED: Code.Aborted,
  UNIMPLEMENTED: Code.Unimplemented,
  INTERNAL: Code.Internal,
  UNAVAILABLE: Code.Unavailable,
  UNAUTHENTICATED: Code.Unauthenticated,
  DEADLINE_EXCEEDED: Code.DeadlineExceeded,
};

/** What SPIRE is told of an error: status and sentence; what is no LacreError is a fault of the plugin, and logged. */
export function statusOf(error: unknown, log: Logger): ConnectError {
  if (isLacreError(error)) return statusOfFault(error);
  if (error instanceof ConnectError) return error;
  log.error({ err: error, stack: error instanceof Error ? error.stack : '' }, 'the plugin failed');
  return new ConnectError('the plugin failed; its log says why', Code.Internal);
}

/** As `statusOf`, for the end of a call to a Lacre server: its sentence is kept. */
export function statusOfCall(error: unknown): ConnectError {
  if (isLacreError(error)) return statusOfFault(error);
  const { code } = ConnectError.from(error);
  return new ConnectError(faultOfCall(error).message, code === Code.Unknown ? Code.Unavailable : code);
}

function statusOfFault(error: LacreError): ConnectError {
  return new ConnectError(error.message, CODES[error.grpcStatus], { 'lacre-code': error.code });
}
