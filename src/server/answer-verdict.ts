import { type Verdict, verdictMessage } from '../appraisal/verdict.ts';
import type { Finding as FindingMessage, Verdict as VerdictMessage } from '../proto/lacre/v1/verdict_pb.ts';

/** A trusted verdict as it is told where no entry accepts it: with what each entry misses. */
export function verdictMessageWith(verdict: Verdict, findings: readonly FindingMessage[]): VerdictMessage {
  const message = verdictMessage(verdict);
  message.findings.push(...findings);
  return message;
}
