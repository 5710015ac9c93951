import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isLacreError } from '../../lacre-error.ts';
import { LabRun } from '../lab-folder.ts';
import { ControlChannel } from '../machine/control-channel.ts';
import { consoleTail, type MachineParts, startMachine } from '../machine/machine.ts';
import { makeTpm, startTpm } from '../machine/software-tpm.ts';
import { killGroup, runProgram } from '../program.ts';

const BOOT_TIME_LIMIT_MS = 120_000;
const DATA_SIZE = '1536M';
const STORAGE = '/var/lib/containers';

/**
 * Boots the node once with a TPM that is thrown away: loads the images into podman's storage (data.img), and takes the
 * firmware's event log as reference. `folder` holds the parts, and gets the results. Where the emulated kernel panics,
 * it is done once more from the beginning.
 */
export async function referenceBoot(folder: string, signal: AbortSignal): Promise<void> {
  await attempt(folder, signal).catch((error: unknown) => {
    if (!isPanic(error)) throw error;
    return attempt(folder, signal);
  });
}

/** Whether a machine ended because its kernel panicked, which the emulated processor makes it do in some boots of many. */
export function isPanic(error: unknown): boolean {
  return isLacreError(error, 'lab.machine.gone') && error.message.includes('Kernel panic');
}

async function attempt(folder: string, signal: AbortSignal): Promise<void> {
  const data = join(folder, 'data.img');
  const options = ['-q', '-F', '-t', 'ext4', '-O', '^has_journal', '-E', 'lazy_itable_init=1,nodiscard'];
  await runProgram('mke2fs', [...options, data, DATA_SIZE], { signal });
  const at = (name: string) => join(folder, name);
  await bootOnce(
    { kernel: at('vmlinuz'), initrd: at('initrd'), root: at('base.squashfs'), data },
    signal,
    async (node) => {
      await writeFile(
        join(folder, 'event-log'),
        await node.readFile('/sys/kernel/security/tpm0/binary_bios_measurements'),
      );
      for (const name of ['demo', 'stranger']) await loadImage(node, join(folder, `${name}.tar`));
    },
  );
  await rm(join(folder, 'firmware-variables.fd'), { force: true });
}

/** Boots a node with a TPM that is thrown away, does `work` in it, and ends it; what was written to its data stays. */
export async function bootOnce(
  parts: Pick<MachineParts, 'kernel' | 'initrd' | 'root' | 'data'>,
  signal: AbortSignal,
  work: (node: ControlChannel) => Promise<void>,
): Promise<void> {
  const run = await LabRun.make();
  try {
    const tpmFolder = join(run.folder, 'tpm');
    await mkdir(tpmFolder);
    const tpm = await makeTpm(tpmFolder, signal);
    await run.own(await startTpm(tpm));
    const machine = await startMachine({ ...parts, keepsData: true, tpm, folder: run.folder, relays: new Map() });
    await run.own(machine.service);
    const stop = () => killGroup(machine.service.pid, 'SIGKILL');
    signal.addEventListener('abort', stop);
    try {
      const node = await ControlChannel.open(machine.controlSocket, BOOT_TIME_LIMIT_MS, signal);
      await work(node);
      await node.powerOff();
      await machine.service.ended;
    } catch (error) {
      if (error instanceof Error && !signal.aborted) error.message += `\n${await consoleTail(machine)}`;
      throw error;
    } finally {
      signal.removeEventListener('abort', stop);
    }
  } finally {
    await run.end();
  }
}

/** Puts an image (an OCI archive on this machine) into the storage of a node's podman. */
export async function loadImage(node: ControlChannel, archive: string): Promise<void> {
  const path = `${STORAGE}/image.tar`;
  await node.writeFile(path, await readFile(archive), { mode: 0o600 });
  await node.must(['/usr/bin/podman', 'load', '--quiet', '--input', path], BOOT_TIME_LIMIT_MS);
}
