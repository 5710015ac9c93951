import { LabAdmin } from './admin.ts';
import type { BuiltNode } from './image/node-build.ts';
import { LabNode } from './lab-node.ts';
import { labReport, unexpected } from './lab-report.ts';
import type { LabServer } from './lab-server.ts';
import { LiveTable } from './live-table.ts';
import { ControlChannel } from './machine/control-channel.ts';
import type { Machine } from './machine/machine.ts';
import type { Progress } from './progress.ts';
import * as scenario from './scenario.ts';
import { summaryText } from './summary.ts';
import { untilAttested } from './until-attested.ts';

/** What is there when the demonstration begins: the machine boots. */
export interface Stage {
  readonly built: BuiltNode;
  readonly server: LabServer;
  readonly machine: Machine;
  readonly ekCertificate: string;
  readonly progress: Progress;
  readonly signal: AbortSignal;
  /** One JSON object on standard output instead of a text. */
  readonly json: boolean;
}

/** How it went. */
export interface Played {
  /** 0: every outcome was as expected. */
  readonly status: 0 | 1;
  readonly control: ControlChannel;
  readonly agentLog: string;
}

const BOOT_TIME_LIMIT_MS = 120_000;

/** Waits until the node's process 1 answers. Throws lab.machine.*. */
export function bootStep({ machine, progress, signal }: Stage): Promise<ControlChannel> {
  return progress.step('boot', 'booting the node by UEFI, measured', () =>
    ControlChannel.open(machine.controlSocket, BOOT_TIME_LIMIT_MS, signal),
  );
}

/** Prints report or summary, and what was not as expected. */
export function tellEnd(
  { json, progress }: Pick<Stage, 'json' | 'progress'>,
  report: object,
  summary: string,
  faults: readonly string[],
): 0 | 1 {
  process.stdout.write(json ? `${JSON.stringify(report)}\n` : summary);
  for (const fault of faults) progress.say(`not as expected: ${fault}`);
  return faults.length === 0 ? 0 : 1;
}

/** The demonstration with Lacre's own agent. */
export async function play(stage: Stage): Promise<Played> {
  const { built, server, ekCertificate, progress, signal } = stage;
  const [control, parentId] = await Promise.all([
    bootStep(stage),
    progress.step('approve', 'node into the inventory; reference values of host and image; entries', async () => {
      const id = await scenario.addNode(server, ekCertificate);
      await scenario.approveReferences(server, built);
      await scenario.createEntries(server, built, id);
      return id;
    }),
  ]);
  const lab = new LabNode(control);
  using admin = new LabAdmin(server.adminSocket);
  const agent = await lab.startAgent(await server.command('bundle', 'show'));
  const enrolled = progress.step('enrol', `the agent starts and enrols as ${parentId}`, () =>
    untilAttested({ admin, agent, log: () => lab.agentLog(), signal }),
  );
  await Promise.all([
    enrolled,
    progress.step('containers', 'starting the four containers', () => scenario.startContainers(lab, built)),
  ]);
  const table = new LiveTable(process.stderr, (text) => progress.say(text));
  const look = () => scenario.observe(lab, admin);
  const tell = (seen: scenario.Observation) => table.show(seen);
  const settled = await progress.step('identities', 'waiting for identities and refusals', () =>
    scenario.watch(look, scenario.isSettled, tell, signal),
  );
  table.leave();
  const change = await progress.step('drift', 'drift: an executable in the running orders is replaced and run', () =>
    scenario.drift(lab, built, look, tell, signal),
  );
  table.leave();
  const report = labReport(settled, change, progress.timings());
  const faults = unexpected(report, settled);
  const summary = summaryText(report, await server.command('why', 'orders'), faults);
  return { status: tellEnd(stage, report, summary, faults), control, agentLog: await lab.agentLog() };
}
