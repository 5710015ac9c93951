import type { LabReport } from './lab-report.ts';
import type { LabServer } from './lab-server.ts';
import { timingLines } from './progress.ts';

/** The end of `lab up` for people. */
export function summaryText(report: LabReport, why: string, faults: readonly string[]): string {
  const { drift } = report;
  const sentence = `orders lost its identity ${drift.withdrawnAfterMs ?? '?'} ms after the changed file ran; a new request: ${drift.newRequest ?? 'unanswered'}; payments ${drift.othersKept ? 'kept its own' : 'lost its own'}`;
  return runText(report, sentence, why, faults);
}

/** The same for any demonstration. @param drift what came of the changed file */
export function runText(
  { node, containers, timingsMs }: Omit<LabReport, 'drift'>,
  drift: string,
  why: string,
  faults: readonly string[],
): string {
  const lines = [
    '',
    `node       ${node.spiffeId ?? 'not enrolled'}`,
    `           root of trust ${node.rootOfTrust || 'none'}, ${node.kernel}, ${node.entries} entries proven`,
    ...containers.map(({ name, spiffeId, findings: [first] }) =>
      spiffeId === null
        ? `${name.padEnd(10)} refused: ${first ? `${first.code} ${first.path ?? ''}` : 'no finding'}`
        : `${name.padEnd(10)} ${spiffeId}`,
    ),
    `drift      ${drift}`,
    '',
    '$ lacre why orders',
    why.trimEnd(),
    '',
    ...timingLines(timingsMs),
    '',
    faults.length === 0 ? 'Every outcome was as expected.' : `${faults.length} outcomes were not as expected.`,
    '',
  ];
  return lines.join('\n');
}

/** What to try in a lab that was kept. */
export function tryText(executable: string, server: LabServer, folder: string, more: readonly string[] = []): string {
  const lacre = `${executable} --socket ${server.adminSocket}`;
  const commands = ['workload list', 'why orders', 'node list', 'entry list', 'image list'];
  const lines = ['The lab runs on. To try:', ...commands.map((c) => `  ${lacre} ${c}`), ...more.map((c) => `  ${c}`)];
  return `\n${[...lines, `Logs and keys are in ${folder}. To end it: lacre lab down`].join('\n')}\n`;
}
