import { create } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { CODE_TRAILER, GRPC_STATUS_NUMBER } from '../grpc-status.ts';
import { LacreError } from '../lacre-error.ts';
import { type Refusal, RefusalSchema } from '../proto/lacre/v1/node_pb.ts';
import type { Verdict } from '../proto/lacre/v1/verdict_pb.ts';

/** A call that ends because an appraisal failed: the verdict goes with it, as the detail `Refusal`. */
export class RefusedError extends LacreError {
  readonly verdict: Verdict;

  constructor(code: LacreError['code'], sentence: string, verdict: Verdict) {
    super(code, sentence);
    this.verdict = verdict;
  }
}

/** What the caller sees of an error: a LacreError by its table; anything else is a fault of the server, told as no more. */
export function statusOf(error: unknown): ConnectError {
  if (error instanceof ConnectError) return error;
  if (!(error instanceof LacreError)) return new ConnectError('the server failed; its log says why', Code.Internal);
  const verdict = error instanceof RefusedError ? error.verdict : undefined;
  const refusal = refusalOf(error, verdict);
  return new ConnectError(
    error.message,
    GRPC_STATUS_NUMBER[error.grpcStatus],
    { [CODE_TRAILER]: error.code },
    verdict === undefined ? [] : [{ desc: RefusalSchema, value: refusal }],
  );
}

/**
 * The next message of a peer. What cannot be read as a message is the peer's fault, not the server's.
 * Codes: server.protocol; a ConnectError where the connection or the call ended.
 */
export async function nextMessage<T>(incoming: AsyncIterator<T>): Promise<IteratorResult<T>> {
  try {
    return await incoming.next();
  } catch (error) {
    if (error instanceof LacreError) throw error;
    if (error instanceof ConnectError && error.code !== Code.Internal && error.code !== Code.Unknown) throw error;
    throw new LacreError('server.protocol', 'a message of the peer cannot be read', {}, { cause: error });
  }
}

export function refusalOf(error: LacreError, verdict?: Verdict, retry = false): Refusal {
  const refusal = create(RefusalSchema, { code: error.code, sentence: error.message, retry });
  if (verdict !== undefined) refusal.verdict = verdict;
  return refusal;
}
