import type { Timings } from '../progress.ts';
import type { GradeStepReport } from './grade-step.ts';

/** What `lab up --grades --output json` prints. */
export interface GradesReport {
  readonly boots: readonly BootReport[];
  readonly timingsMs: Timings;
}

export interface BootReport {
  readonly name: string;
  readonly commandLine: string;
  readonly steps: readonly GradeStepReport[];
}

/** What is not as expected, as sentences; none: it all is. */
export function unexpectedGrades({ boots }: GradesReport): string[] {
  return boots.flatMap(({ name, steps }) =>
    steps
      .filter(({ asExpected }) => !asExpected)
      .map(({ what, grade, expected }) => `${name}: ${what}: ${grade}, where ${expected} is expected with its reasons`),
  );
}

/** For people. @param shown what the command line says of each node. */
export function gradesText(report: GradesReport, shown: readonly string[], faults: readonly string[]): string {
  const rows = report.boots.flatMap(({ name, steps }) =>
    steps.map(
      ({ what, grade, afterMs }) => `${name.padEnd(8)} ${grade.padEnd(9)} ${`${afterMs} ms`.padStart(8)}  ${what}`,
    ),
  );
  const times = Object.entries(report.timingsMs).map(
    ([name, ms]) => `${name.padEnd(14)} ${(ms / 1000).toFixed(1).padStart(6)} s`,
  );
  const end = faults.length === 0 ? 'Every grade was as expected.' : `${faults.length} things were not as expected.`;
  return ['', ...shown, ...rows, '', ...times, '', end, ''].join('\n');
}
