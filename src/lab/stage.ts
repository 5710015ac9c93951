import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LacreError } from '../lacre-error.ts';
import type { BuiltNode } from './image/node-build.ts';
import type { LabRun } from './lab-folder.ts';
import { LabServer } from './lab-server.ts';
import { consoleTail, SERVER_ADDRESS_IN_NODE, SPIRE_ADDRESS_IN_NODE, startMachine } from './machine/machine.ts';
import { relayTo } from './machine/relay-command.ts';
import { makeTpm, startTpm } from './machine/software-tpm.ts';
import type { Played, Stage } from './play.ts';
import type { Progress } from './progress.ts';
import { SpireServer } from './spire/spire-server.ts';

export interface StageParts {
  readonly built: BuiltNode;
  readonly run: LabRun;
  readonly progress: Progress;
  readonly signal: AbortSignal;
  readonly json: boolean;
  /** The program, where identities are to come from SPIRE. */
  readonly spireServer: string | undefined;
}

/** With spire-server, where identities come from SPIRE. */
export interface SetStage extends Stage {
  readonly spire: SpireServer | undefined;
}

/** Starts servers, TPM and machine, has `play` do its part, and keeps the agent's log. Throws lab.*. */
export async function onStage(
  parts: StageParts,
  play: (stage: SetStage) => Promise<Played>,
): Promise<{ stage: SetStage; status: 0 | 1 }> {
  const { run } = parts;
  const stage = await setStage(parts);
  try {
    const { status, control, agentLog } = await play(stage);
    control.close();
    await writeFile(join(run.folder, 'agent.log'), agentLog);
    return { stage, status };
  } catch (error) {
    if (error instanceof LacreError && error.code === 'lab.machine.gone')
      error.message += `\n${await consoleTail(stage.machine)}`;
    throw error;
  }
}

async function setStage({ built, run, progress, signal, json, spireServer }: StageParts): Promise<SetStage> {
  const tpmFolder = join(run.folder, 'tpm');
  await mkdir(tpmFolder);
  const tpm = await progress.step('tpm', 'making a software TPM with an EK certificate', () =>
    makeTpm(tpmFolder, signal),
  );
  const server = await progress.step('server', 'starting lacre server', () =>
    LabServer.start(built.executable.path, tpm.rootPaths, run, signal),
  );
  const relays = new Map([[SERVER_ADDRESS_IN_NODE, relayTo(server.port)]]);
  let spire: SpireServer | undefined;
  if (spireServer !== undefined) {
    spire = await progress.step('spireServer', "starting spire-server, with Lacre's plugin", () =>
      SpireServer.start({ program: spireServer, plugin: built.executable, server, run, signal }),
    );
    relays.set(`${SPIRE_ADDRESS_IN_NODE.host}:${SPIRE_ADDRESS_IN_NODE.port}`, relayTo(spire.port));
  }
  await run.own(await startTpm(tpm));
  const machine = await startMachine({
    ...{ kernel: built.kernel, initrd: built.initrd, root: built.root, data: built.data, keepsData: false },
    ...{ tpm, folder: run.folder, relays },
  });
  await run.own(machine.service);
  return { built, server, machine, ekCertificate: tpm.ekCertificatePath, progress, signal, json, spire };
}
