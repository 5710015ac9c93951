import { constants } from 'node:fs';
import { access, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LacreError } from '../lacre-error.ts';
import { LabAdmin } from './admin.ts';
import { type BuiltNode, buildNode } from './image/node-build.ts';
import { endLeftOver, endRun, LabRun, runningLab } from './lab-folder.ts';
import { LabNode } from './lab-node.ts';
import { labReport, unexpected } from './lab-report.ts';
import { LabServer } from './lab-server.ts';
import { LiveTable } from './live-table.ts';
import { ControlChannel } from './machine/control-channel.ts';
import { consoleTail, type Machine, startMachine } from './machine/machine.ts';
import { makeTpm, startTpm } from './machine/software-tpm.ts';
import { Progress } from './progress.ts';
import * as scenario from './scenario.ts';
import { stopOnSignals } from './stop-signal.ts';
import { summaryText, tryText } from './summary.ts';
import { untilAttested } from './until-attested.ts';

export interface LabOptions {
  /** Leave everything running. */
  readonly keep: boolean;
  /** One JSON object on standard output instead of a text. */
  readonly json: boolean;
}

const BOOT_TIME_LIMIT_MS = 120_000;
const RELAY = join(import.meta.dirname, 'machine/relay.ts');

/**
 * Builds and boots the node, runs the demonstration on it, and says how it went. Exit status: 0 where every outcome was
 * as expected, 1 where one was not. SIGINT, SIGTERM and SIGHUP end it; nothing of it is left but its cache.
 * Throws lab.*.
 */
export async function labUp(options: LabOptions): Promise<number> {
  await endLeftOver();
  const progress = new Progress();
  const stop = new AbortController();
  using _signals = stopOnSignals(stop);
  let run: LabRun | undefined;
  let kept = false;
  try {
    const node = await buildNode(progress, stop.signal);
    run = await LabRun.make();
    const status = await demonstrate(node, run, progress, options, stop.signal);
    kept = options.keep;
    if (kept) run.release();
    return status;
  } catch (error) {
    throw stop.signal.aborted ? stop.signal.reason : error;
  } finally {
    stop.abort(); // a fault in one place ends what runs beside it
    if (run && !kept) await run.end();
  }
}

/** Ends a lab that was kept or left behind. Exit status 0, also where there is none. */
export async function labDown(): Promise<number> {
  const running = await runningLab();
  if (running) await endRun(running);
  process.stdout.write(running ? 'the lab has ended\n' : 'no lab is running\n');
  return 0;
}

async function demonstrate(
  built: BuiltNode,
  run: LabRun,
  progress: Progress,
  options: LabOptions,
  signal: AbortSignal,
): Promise<number> {
  const tpmFolder = join(run.folder, 'tpm');
  await mkdir(tpmFolder);
  const tpm = await progress.step('tpm', 'making a software TPM with an EK certificate', () =>
    makeTpm(tpmFolder, signal),
  );
  const server = await progress.step('server', 'starting lacre server', () =>
    LabServer.start(built.executable, tpm.rootPaths, run, signal),
  );
  await run.own(await startTpm(tpm));
  const machine = await startMachine({
    ...{ kernel: built.kernel, initrd: built.initrd, root: built.root, data: built.data, keepsData: false },
    ...{
      tpm,
      folder: run.folder,
      relayCommand: `${quoted(process.execPath)} ${quoted(RELAY)} 127.0.0.1 ${server.port}`,
    },
  });
  await run.own(machine.service);
  try {
    const { status, control, agentLog } = await play(
      { built, server, machine, ekCertificate: tpm.ekCertificatePath },
      progress,
      options,
      signal,
    );
    control.close();
    await writeFile(join(run.folder, 'agent.log'), agentLog);
    if (options.keep) process.stderr.write(tryText(built.executable, server, run.folder));
    return status;
  } catch (error) {
    if (error instanceof LacreError && error.code === 'lab.machine.gone')
      error.message += `\n${await consoleTail(machine)}`;
    throw error;
  }
}

interface Stage {
  readonly built: BuiltNode;
  readonly server: LabServer;
  readonly machine: Machine;
  readonly ekCertificate: string;
}

async function play(
  { built, server, machine, ekCertificate }: Stage,
  progress: Progress,
  options: LabOptions,
  signal: AbortSignal,
) {
  const [control, parentId] = await Promise.all([
    progress.step('boot', 'booting the node by UEFI, measured', () =>
      ControlChannel.open(machine.controlSocket, BOOT_TIME_LIMIT_MS, signal),
    ),
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
  if (options.json) process.stdout.write(`${JSON.stringify(report)}\n`);
  else process.stdout.write(summaryText(report, await server.command('why', 'orders'), faults));
  for (const fault of faults) progress.say(`not as expected: ${fault}`);
  return { status: faults.length === 0 ? 0 : 1, control, agentLog: await lab.agentLog() };
}

/** For QEMU, which splits a command as a shell does, and takes commas as ends of options. */
function quoted(path: string): string {
  return `'${path.replaceAll(',', ',,')}'`;
}

/** Whether this machine has all programs of the lab; the names of those that it lacks. */
export async function missingPrograms(): Promise<string[]> {
  const names = ['qemu-system-x86_64', 'swtpm', 'swtpm_setup', 'mmdebstrap', 'sqfstar', 'mke2fs', 'xz', 'gcc', 'tar'];
  const folders = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin'];
  const found = await Promise.all(
    names.map((name) =>
      Promise.any(folders.map((folder) => access(join(folder, name), constants.X_OK))).then(
        () => true,
        () => false,
      ),
    ),
  );
  return names.filter((_, index) => !found[index]);
}
