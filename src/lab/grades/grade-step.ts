import { setTimeout as delay } from 'node:timers/promises';
import type { NodeInfo } from '../../proto/lacre/v1/admin_pb.ts';
import { type FindingReport, findingReport } from '../lab-report.ts';
import type { BootedNode } from './boot.ts';

const TIME_LIMIT_MS = 60_000;
const POLL_MS = 100;

export type Grade = 'sealed' | 'standard' | 'open' | 'refused';

/** Something that happens on a node, and what its grade must be for it. */
export interface GradeStep {
  readonly what: string;
  readonly work?: (node: BootedNode) => Promise<unknown>;
  readonly expected: Grade;
  /** Findings that must say why, each by its code and, where given, its path. */
  readonly because: readonly { readonly code: string; readonly path?: string }[];
}

export interface GradeStepReport {
  readonly what: string;
  readonly expected: Grade;
  readonly grade: Grade;
  /** Everything that the verdict says: why it is not higher, or why it is refused. */
  readonly findings: readonly FindingReport[];
  /** From the end of the step's work to the verdict. */
  readonly afterMs: number;
  readonly asExpected: boolean;
}

/** The highest grade among the selectors of a trusted verdict. */
export function gradeOf(node: NodeInfo | undefined): Grade {
  const selectors = node?.host?.trusted ? node.host.selectors : [];
  const grades: readonly Grade[] = ['sealed', 'standard', 'open'];
  return grades.find((grade) => selectors.includes(`lacre:host:${grade}`)) ?? 'refused';
}

/** Does a step, and waits until the server's verdict is as the step wants it, or the time is over. */
export async function takeStep(node: BootedNode, step: GradeStep, signal: AbortSignal): Promise<GradeStepReport> {
  await step.work?.(node);
  const startedAt = performance.now();
  for (;;) {
    const seen = await node.admin.node(node.name);
    const findings = (seen?.host?.findings ?? []).map(findingReport);
    const grade = gradeOf(seen);
    const asExpected = grade === step.expected && step.because.every((reason) => findings.some(isOf(reason)));
    const afterMs = Math.round(performance.now() - startedAt);
    if (asExpected || afterMs > TIME_LIMIT_MS)
      return { what: step.what, expected: step.expected, grade, findings, afterMs, asExpected };
    await delay(POLL_MS, undefined, { signal });
  }
}

function isOf({ code, path }: GradeStep['because'][number]): (finding: FindingReport) => boolean {
  return (finding) => finding.code === code && (path === undefined || finding.path === path);
}
