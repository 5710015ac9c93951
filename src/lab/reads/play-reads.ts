import { LabAdmin } from '../admin.ts';
import { LabNode } from '../lab-node.ts';
import { bootStep, type Played, type Stage, tellEnd } from '../play.ts';
import { type Progress, timingLines } from '../progress.ts';
import { addNode, approveHost, type Observation, standing, watch } from '../scenario.ts';
import { untilAttested } from '../until-attested.ts';
import type { ReadsBuild } from './reads-build.ts';
import { type ReadsReport, readsReport, unexpectedReads } from './reads-report.ts';
import {
  approveReads,
  changeLate,
  isLateSettled,
  isReadsSettled,
  observeReads,
  READS_CONTAINERS,
  startReads,
} from './reads-scenario.ts';

/** Services in Python, JavaScript and shell: what they read of their image is measured, and decides on their identity. */
export async function playReads(stage: Stage & { readonly reads: ReadsBuild }): Promise<Played> {
  const { built, server, ekCertificate, progress, signal, reads } = stage;
  const [control, parentId] = await Promise.all([
    bootStep(stage),
    progress.step('approve', 'node into the inventory; reference values of host and images; entries', async () => {
      const id = await addNode(server, ekCertificate);
      await approveHost(server, built);
      await approveReads(server, reads, id);
      return id;
    }),
  ]);
  const lab = new LabNode(control);
  using admin = new LabAdmin(server.adminSocket);
  const agent = await lab.startAgent(await server.command('bundle', 'show'));
  await Promise.all([
    progress.step('enrol', `the agent starts and enrols as ${parentId}`, () =>
      untilAttested({ admin, agent, log: () => lab.agentLog(), signal }),
    ),
    progress.step('containers', `starting the ${READS_CONTAINERS.length} containers`, () => startReads(lab)),
  ]);
  const look = () => observeReads(lab, admin);
  const tell = standingsTeller(progress);
  const settled = await progress.step('identities', 'waiting for identities and refusals', () =>
    watch(look, isReadsSettled, tell, signal),
  );
  const ended = await progress.step('late', 'root of the host changes a file in three running containers', async () => {
    await changeLate(lab);
    return watch(look, isLateSettled, tell, signal);
  });
  const report = readsReport({ settled, ended, list: await lab.measurementList() }, progress.timings());
  const faults = unexpectedReads(report);
  const why = await server.command('why', 'python-changed');
  return {
    status: tellEnd(stage, report, summary(report, why, faults), faults),
    control,
    agentLog: await lab.agentLog(),
  };
}

/** Says each change of a container's standing once. */
function standingsTeller(progress: Progress): (seen: Observation) => void {
  const last = new Map<string, string>();
  return ({ lines, workloads }) => {
    for (const { name } of READS_CONTAINERS) {
      const { spiffeId, refusedWith } = standing(lines.get(name) ?? []);
      const finding = workloads.get(name)?.verdict?.findings.find(({ fatal }) => fatal);
      const refusal = refusedWith && `refused ${finding ? `${finding.code} ${finding.path}` : `status ${refusedWith}`}`;
      const line = spiffeId ?? refusal ?? 'waiting';
      if (last.get(name) !== line) progress.say(`${name.padEnd(15)} ${line}`);
      last.set(name, line);
    }
  };
}

function summary({ node, measured, containers, late, kept, timingsMs }: ReadsReport, why: string, faults: string[]) {
  const lines = [
    '',
    `node       ${node.spiffeId ?? 'not enrolled'}, ${node.kernel}`,
    `           ${measured.executed} entries in PCR 10 (executed), ${measured.read} in PCR 13 (read), ${measured.untrusted} in PCR 14`,
    ...containers.map(({ name, spiffeId, selectors, findings: [first] }) =>
      spiffeId === null
        ? `${name.padEnd(15)} refused: ${first ? `${first.code} ${first.path ?? ''}` : 'no finding'}`
        : `${name.padEnd(15)} ${spiffeId}, ${selectors.filter((s) => /:(coverage:read|image:proven)$/.test(s)).join(', ')}`,
    ),
    ...late.map(
      ({ name, path, withdrawnAfterMs, newRequest }) =>
        `${name.padEnd(15)} lost it ${withdrawnAfterMs ?? '?'} ms after ${path} was read anew; a new request: ${newRequest ?? 'unanswered'}`,
    ),
    `kept it         ${kept.join(', ') || 'nobody'}`,
    ...['', '$ lacre why python-changed', why.trimEnd(), ''],
    ...timingLines(timingsMs),
    '',
    faults.length === 0 ? 'Every outcome was as expected.' : `${faults.length} outcomes were not as expected.`,
    '',
  ];
  return lines.join('\n');
}
