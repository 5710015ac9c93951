import { Code, ConnectError } from '@connectrpc/connect';
import { CODE_TRAILER } from '../grpc-status.ts';
import { LacreError } from '../lacre-error.ts';
import { RefusalSchema } from '../proto/lacre/v1/node_pb.ts';
import type { Verdict } from '../proto/lacre/v1/verdict_pb.ts';

const MAX_SENTENCE = 2_000;
/** The node is not at fault: the same call may go well later. */
const PASSING: readonly Code[] = [Code.Unavailable, Code.Canceled, Code.DeadlineExceeded, Code.Aborted, Code.Unknown];

/** What the server, or the connection to it, said by ending a call: as an error of the agent, with the server's sentence. */
export function faultOfCall(error: unknown): LacreError {
  if (error instanceof LacreError) return error;
  const failure = ConnectError.from(error);
  if (failure.cause instanceof LacreError) return failure.cause;
  const serverCode = failure.metadata.get(CODE_TRAILER)?.slice(0, 64) ?? '';
  const refusal = refusalOf(failure);
  const sentence = (refusal?.sentence || failure.rawMessage || 'no reason was given').slice(0, MAX_SENTENCE);
  const details = { serverCode, status: Code[failure.code] ?? 'Unknown' };
  if (PASSING.includes(failure.code)) {
    return new LacreError('agent.session.lost', `the connection to the server ended: ${sentence}`, details, {
      cause: error,
    });
  }
  const text = `the server ended the call: ${sentence}${findingsText(refusal?.verdict)}`;
  return new LacreError('agent.server.refused', text, details, { cause: error });
}

/** Up to three findings in one line, for a log: what, where, and which digest was seen. */
export function findingsText(verdict: Verdict | undefined): string {
  const findings = verdict?.findings ?? [];
  if (findings.length === 0) return '';
  const shown = findings.slice(0, 3).map(({ code, subject, path, detail }) => {
    const where = [subject, path].filter((part) => part !== undefined && part !== '').join(' ');
    return `${code} ${where}: ${detail}`.slice(0, 300);
  });
  const more = findings.length > shown.length ? `; and ${findings.length - shown.length} more` : '';
  return ` [${shown.join('; ')}${more}]`;
}

function refusalOf(failure: ConnectError) {
  try {
    return failure.findDetails(RefusalSchema)[0];
  } catch {
    return undefined;
  }
}
