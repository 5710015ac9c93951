import { Code, ConnectError } from '@connectrpc/connect';
import type { Logger } from 'pino';
import { faultOfCall } from '../agent/connection-fault.ts';
import { CODE_TRAILER, GRPC_STATUS_NUMBER } from '../grpc-status.ts';
import { isLacreError, type LacreError } from '../lacre-error.ts';

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
  const { code, cause } = ConnectError.from(error);
  if (isLacreError(cause)) return statusOfFault(cause);
  const system = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  // The socket isn't there, or nobody answers on it.
  if (/^E[A-Z]+$/.test(system))
    return new ConnectError(`the Lacre server does not answer: ${system}`, Code.Unavailable);
  return new ConnectError(faultOfCall(error).message, code === Code.Unknown ? Code.Unavailable : code);
}

function statusOfFault(error: LacreError): ConnectError {
  return new ConnectError(error.message, GRPC_STATUS_NUMBER[error.grpcStatus], { [CODE_TRAILER]: error.code });
}
