import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isLacreError } from '../../lacre-error.ts';
import { LabAdmin } from '../admin.ts';
import type { LabRun } from '../lab-folder.ts';
import { LabNode } from '../lab-node.ts';
import type { LabServer } from '../lab-server.ts';
import { ControlChannel } from '../machine/control-channel.ts';
import { consoleTail, SERVER_ADDRESS_IN_NODE, startMachine } from '../machine/machine.ts';
import { relayTo } from '../machine/relay-command.ts';
import { type SoftwareTpm, startTpm } from '../machine/software-tpm.ts';
import type { Progress } from '../progress.ts';
import { addNode, approveHost } from '../scenario.ts';
import { untilAttested } from '../until-attested.ts';
import type { BootParts } from './boot-parts.ts';
import type { GradesBuild } from './grades-build.ts';

const BOOT_TIME_LIMIT_MS = 120_000;

/** What all boots have in common. */
export interface GradesStage {
  readonly build: GradesBuild;
  readonly server: LabServer;
  readonly run: LabRun;
  readonly progress: Progress;
  readonly signal: AbortSignal;
}

/** A node that has booted and enrolled. */
export interface BootedNode {
  readonly name: string;
  readonly control: ControlChannel;
  readonly lab: LabNode;
  readonly admin: LabAdmin;
}

/**
 * Approves a boot under its own name, boots a node with a TPM of its own by it, waits until it has enrolled, does `work`,
 * and ends it.
 */
export async function bootGraded<T>(
  stage: GradesStage,
  parts: BootParts,
  tpm: SoftwareTpm,
  work: (node: BootedNode) => Promise<T>,
): Promise<T> {
  const { build, server, run, progress, signal } = stage;
  const { name } = parts;
  await progress.step(`${name}Approve`, `${name}: into the inventory; reference values of this boot`, async () => {
    await approveHost(server, { ...build.node, ...parts }, parts);
    await addNode(server, tpm.ekCertificatePath, { name, host: name });
  });
  const folder = join(run.folder, name);
  await mkdir(folder);
  await run.own(await startTpm(tpm));
  const relays = new Map([[SERVER_ADDRESS_IN_NODE, relayTo(server.port)]]);
  const machine = await startMachine({ ...parts, data: build.node.data, keepsData: false, tpm, folder, relays });
  await run.own(machine.service);
  try {
    const control = await progress.step(`${name}Boot`, `${name}: booting by UEFI, measured`, () =>
      ControlChannel.open(machine.controlSocket, BOOT_TIME_LIMIT_MS, signal),
    );
    const lab = new LabNode(control);
    using admin = new LabAdmin(server.adminSocket);
    const node = { name, control, lab, admin };
    await progress.step(`${name}Enrol`, `${name}: the agent enrols`, () => enrol(node, server, signal));
    const result = await work(node);
    await writeFile(join(folder, 'agent.log'), await lab.agentLog());
    await control.powerOff();
    await machine.service.ended;
    control.close();
    return result;
  } catch (error) {
    if (isLacreError(error, 'lab.machine.gone')) error.message += `\n${await consoleTail(machine)}`;
    throw error;
  }
}

async function enrol({ name, lab, admin }: BootedNode, server: LabServer, signal: AbortSignal): Promise<void> {
  const agent = await lab.startAgent(await server.command('bundle', 'show'));
  await untilAttested({ admin: { node: () => admin.node(name) }, agent, log: () => lab.agentLog(), signal });
}
