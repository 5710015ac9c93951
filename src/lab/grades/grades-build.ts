import { createHash } from 'node:crypto';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { once } from '../image/build-folder.ts';
import { agentFiles, type BuiltNode, buildRoot } from '../image/node-build.ts';
import { archives } from '../image/package-archive.ts';
import { DEFAULT_KERNEL } from '../image/root-archive.ts';
import { Toolchain } from '../image/toolchain.ts';
import { verifiedRoot } from '../image/verity.ts';
import { COMMAND_LINE } from '../machine/machine.ts';
import type { Progress } from '../progress.ts';
import { type BootParts, measuredBy } from './boot-parts.ts';
import { buildDebian } from './debian-build.ts';

export const VIOLATE_PATH = '/usr/lib/lacre/violate';
const SOURCE = 'lab/grades/violate.c';
const MAKERS = [`deploy/${SOURCE}`, 'src/lab/grades/grades-build.ts', 'src/lab/grades/debian-build.ts'];
const PROJECT = join(import.meta.dirname, '../../..');

/** Words without which the kernel is open. */
const CLOSING = ['lockdown=integrity', 'sysctl.kernel.kexec_load_disabled=1'];

export interface GradesBuild {
  readonly node: BuiltNode;
  /** dm-verity over the root, on the command line. */
  readonly sealed: BootParts;
  /** A Debian that `lacre node prepare` has made ready. */
  readonly debian: BootParts;
  /** As sealed without a verified root, and with a command line that leaves the kernel open. */
  readonly open: BootParts;
}

/** Adds to a node the boots that reach other grades, unless they are there already. */
export async function buildGrades(built: BuiltNode, progress: Progress, signal: AbortSignal): Promise<GradesBuild> {
  const key = await hashOfMakers();
  const folder = join(dirname(built.root), `grades-${key}`);
  await once(folder, (part) =>
    progress.step('gradesRoot', 'a root file system with a dm-verity tree', () =>
      buildVerified(built, part, progress, signal),
    ),
  );
  const at = (name: string) => join(folder, name);
  const common = { kernel: built.kernel, rootArchive: at('root.tar') };
  return {
    node: built,
    sealed: {
      ...{ ...common, name: 'sealed', initrd: built.verifiedInitrd, root: at('verified.squashfs') },
      commandLine: `${COMMAND_LINE} ${await readFile(at('verity'), 'utf8')}`,
      measuredKernel: at('vmlinuz-measured'),
    },
    debian: await buildDebian(built, key, progress, signal),
    open: {
      ...{ ...common, name: 'open', initrd: built.initrd, root: at('root.squashfs') },
      commandLine: COMMAND_LINE.split(' ')
        .filter((word) => !CLOSING.includes(word))
        .join(' '),
      measuredKernel: built.measuredKernel,
    },
  };
}

async function buildVerified(built: BuiltNode, folder: string, progress: Progress, signal: AbortSignal): Promise<void> {
  const { packages } = await archives(DEFAULT_KERNEL, progress, signal);
  const toolchain = await Toolchain.unpack(packages.path, join(folder, 'sysroot'), signal);
  const violate = join(folder, 'violate');
  await writeFile(violate, await toolchain.staticProgram(SOURCE));
  await rm(join(folder, 'sysroot'), { recursive: true });
  const files = [...agentFiles(built.executable), { path: VIOLATE_PATH, source: violate, mode: 0o755 }];
  await buildRoot(built.base, folder, files, signal);
  const word = await verifiedRoot(join(folder, 'root.squashfs'), join(folder, 'verified.squashfs'), '/dev/vda', signal);
  await writeFile(join(folder, 'verity'), word);
  const { length } = await readFile(built.verifiedInitrd);
  await writeFile(join(folder, 'vmlinuz-measured'), await measuredBy(built, length));
}

async function hashOfMakers(): Promise<string> {
  const hash = createHash('sha256');
  for (const path of MAKERS) hash.update(JSON.stringify(path)).update(await readFile(join(PROJECT, path)));
  return hash.digest('hex').slice(0, 16);
}
