import { z } from 'zod';
import { type Timings, timingLines } from '../progress.ts';
import type { BootedNode } from './boot.ts';
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
  /** What `lacre node prepare`, run on this node, found missing; null: it was not asked. */
  readonly prepare: PrepareReport | null;
}

export interface PrepareReport {
  /** Exit status. */
  readonly status: number;
  /** Names of items, for identities of containers and `host:standard`, and for `host:sealed`. */
  readonly standardLacks: readonly string[];
  readonly sealedLacks: readonly string[];
}

const ITEMS = z.array(z.looseObject({ name: z.string(), need: z.string(), state: z.string() }));

/** Runs `lacre node prepare` on the node. */
export async function askPrepare({ control }: BootedNode): Promise<PrepareReport> {
  const { status, output } = await control.run(['/usr/bin/lacre', '--output', 'json', 'node', 'prepare']);
  const missing = ITEMS.parse(JSON.parse(output)).filter(({ state }) => state === 'missing');
  const names = (isSealed: boolean) => missing.filter(({ need }) => (need === 'host:sealed') === isSealed);
  return {
    status,
    standardLacks: names(false).map(({ name }) => name),
    sealedLacks: names(true).map(({ name }) => name),
  };
}

/** What is not as expected, as sentences; none: it all is. */
export function unexpectedGrades({ boots }: GradesReport): string[] {
  return boots.flatMap(({ name, steps, prepare }) => [
    ...steps
      .filter(({ asExpected }) => !asExpected)
      .map(({ what, grade, expected }) => `${name}: ${what}: ${grade}, where ${expected} is expected with its reasons`),
    ...(prepare === null || (prepare.status === 0 && prepare.standardLacks.length === 0)
      ? []
      : [`${name}: lacre node prepare finds missing: ${prepare.standardLacks.join(', ')} (status ${prepare.status})`]),
    ...(prepare?.sealedLacks.length === 0 ? [`${name}: lacre node prepare says nothing of what sealed lacks`] : []),
  ]);
}

/** For people. @param shown what the command line says of each node. */
export function gradesText(report: GradesReport, shown: readonly string[], faults: readonly string[]): string {
  const rows = report.boots.flatMap(({ name, steps, prepare }) => [
    ...steps.map(
      ({ what, grade, afterMs }) => `${name.padEnd(8)} ${grade.padEnd(9)} ${`${afterMs} ms`.padStart(8)}  ${what}`,
    ),
    ...(prepare === null
      ? []
      : [`${name.padEnd(8)} lacre node prepare: sealed lacks ${prepare.sealedLacks.join('; ')}`]),
  ]);
  const end = faults.length === 0 ? 'Every grade was as expected.' : `${faults.length} things were not as expected.`;
  return ['', ...shown, ...rows, '', ...timingLines(report.timingsMs), '', end, ''].join('\n');
}
