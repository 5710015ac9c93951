import { createHash } from 'node:crypto';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { once } from '../image/build-folder.ts';
import { demoConfiguration } from '../image/demo-image.ts';
import { FileTree } from '../image/file-tree.ts';
import { agentFiles, type BuiltNode, buildRoot } from '../image/node-build.ts';
import { makeLayer, readOciLayers, writeOciArchive } from '../image/oci-archive.ts';
import { Toolchain } from '../image/toolchain.ts';
import type { Progress } from '../progress.ts';

const SOURCES = join(import.meta.dirname, '../../../deploy/lab/attack');
const TARGET_SOURCES = [
  ...['target', 'act', 'act-file', 'act-memory', 'act-mount', 'act-socket', 'act-fuse'].map(
    (name) => `lab/attack/${name}.c`,
  ),
  ...['lab/demo/say.c', 'lab/demo/workload-api.c'],
];
const FACTS = z.strictObject({ targetDigest: z.string() });
/** Folders of the image that something can be mounted on; a volume takes over who may write to it. */
const MOUNT_POINTS = ['mnt', 'data', 'scratch', 'common'];

export const TARGET_IMAGE = 'localhost/target:1';
/** An approved program of the host, by which its root attacks. */
export const HOST_PROGRAM = '/usr/lib/lacre/lab-host';

/** A node for attacks, and the image of the containers that are attacked from within. */
export interface AttackBuild {
  readonly node: BuiltNode;
  readonly targetArchive: string;
  /** The attacked service as no image holds it. */
  readonly changedTarget: string;
  /** "sha256:…" of the manifest. */
  readonly targetDigest: string;
}

/** Adds to a node the image of the attacked service, and a root with the host's attacking program, unless they are there. */
export async function buildAttacks(built: BuiltNode, progress: Progress, signal: AbortSignal): Promise<AttackBuild> {
  const sources = await hashOfSources();
  const folder = join(built.base, `attacks-${sources}`);
  await once(folder, (part) =>
    progress.step('attackPrograms', 'compiling what attacks, and the image of the attacked service', () =>
      buildPrograms(built, part, signal),
    ),
  );
  const root = `${dirname(built.root)}-attacks-${sources}`;
  const tool = { path: HOST_PROGRAM, source: join(folder, 'host'), mode: 0o755 };
  await once(root, (part) =>
    progress.step('attackRoot', "making the root file system with the host's attacking program", () =>
      buildRoot(built.base, part, [...agentFiles(built.executable), tool], signal),
    ),
  );
  await removeOlder(folder);
  return {
    node: { ...built, root: join(root, 'root.squashfs'), rootArchive: join(root, 'root.tar') },
    targetArchive: join(folder, 'target.tar'),
    changedTarget: join(folder, 'changed-target'),
    ...FACTS.parse(JSON.parse(await readFile(join(folder, 'facts.json'), 'utf8'))),
  };
}

async function buildPrograms(built: BuiltNode, folder: string, signal: AbortSignal): Promise<void> {
  const toolchain = await Toolchain.unpack(built.packages, join(folder, 'sysroot'), signal);
  const [target, ask, changed, host] = await Promise.all([
    toolchain.program('target', TARGET_SOURCES, [], 'as approved'),
    toolchain.program('ask', TARGET_SOURCES, [], 'approved as well'),
    toolchain.program('target', TARGET_SOURCES, [], 'changed before the start'),
    toolchain.staticProgram('lab/attack/host.c'),
  ]);
  await writeFile(join(folder, 'host'), host);
  await writeFile(join(folder, 'changed-target'), changed);
  const programs = new FileTree().file('bin/target', target, 0o755).file('bin/ask', ask, 0o755);
  for (const name of MOUNT_POINTS) programs.folder(name, 0o1777);
  const layers = [...(await readOciLayers(built.demoArchive)), await makeLayer(programs)];
  const configuration = demoConfiguration('target');
  const targetDigest = await writeOciArchive(join(folder, 'target.tar'), TARGET_IMAGE, layers, configuration);
  await writeFile(join(folder, 'facts.json'), JSON.stringify({ targetDigest }));
  await rm(join(folder, 'sysroot'), { recursive: true });
}

async function hashOfSources(): Promise<string> {
  const hash = createHash('sha256').update(JSON.stringify([TARGET_SOURCES, MOUNT_POINTS]));
  for (const name of (await readdir(SOURCES)).sort()) hash.update(name).update(await readFile(join(SOURCES, name)));
  return hash.digest('hex').slice(0, 16);
}

/** Of older sources. */
async function removeOlder(kept: string): Promise<void> {
  for (const name of await readdir(dirname(kept))) {
    const path = join(dirname(kept), name);
    if (/^attacks-[0-9a-f]{16}$/.test(name) && path !== kept) await rm(path, { recursive: true, force: true });
  }
}
