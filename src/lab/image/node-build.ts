import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { z } from 'zod';
import { imaPolicy } from '../../ima/policy.ts';
import { LacreError } from '../../lacre-error.ts';
import { cacheFolder } from '../lab-folder.ts';
import type { Progress } from '../progress.ts';
import { type AgentExecutable, buildAgent } from './agent-executable.ts';
import { nodePrefix, once, removeOthers } from './build-folder.ts';
import { type DemoNames, IMAGE_NAMES, makeDemoImages } from './demo-image.ts';
import { FileTree } from './file-tree.ts';
import { makeInitrd } from './initrd.ts';
import { takeKernel } from './kernel.ts';
import { measuredKernel } from './measured-kernel.ts';
import { AGENT_NATIVE_PATH, AGENT_PATH, makeNodeRoot, NEXT_INIT, UID_POOL_BASE, writeSquashfs } from './node-root.ts';
import { type Archives, archives } from './package-archive.ts';
import { referenceBoot } from './reference-boot.ts';
import { DEFAULT_KERNEL, type KernelSeries } from './root-archive.ts';
import { sharedLibraries } from './shared-libraries.ts';
import { Toolchain } from './toolchain.ts';

const SOURCES = ['src/lab/image', 'src/lab/machine', 'deploy/lab', 'deploy/lab/demo', 'deploy/node'];
const PROJECT = join(import.meta.dirname, '../../..');

const FACTS = z.strictObject({
  kernelVersion: z.string(),
  demoDigest: z.string(),
  strangerDigest: z.string(),
});

/** A node, ready to boot: paths of its parts. */
export interface BuiltNode extends z.infer<typeof FACTS> {
  readonly kernel: string;
  /** The same as the firmware measures it. */
  readonly measuredKernel: string;
  readonly initrd: string;
  /** The same for a root that dm-verity checks. */
  readonly verifiedInitrd: string;
  /** deploy/node/seal.c, a static executable. */
  readonly seal: string;
  /** The root file system as squashfs, and as the tar file that it was made from. */
  readonly root: string;
  readonly rootArchive: string;
  /** podman's storage with both images in it. */
  readonly data: string;
  /** binary_bios_measurements of the reference boot. */
  readonly eventLog: string;
  readonly demoArchive: string;
  readonly changedService: string;
  readonly changedHealth: string;
  /** A kernel module that the node doesn't load. */
  readonly spareModule: string;
  readonly kernelSeries: KernelSeries;
  /** The packages that everything was made of. */
  readonly packages: string;
  readonly imageNames: DemoNames;
  /** `lacre` as one executable file. */
  readonly executable: AgentExecutable;
  /** What root and images are made from. */
  readonly base: string;
}

/** Builds what is not there yet from just these inputs; packages, node and agent each have their own hash. */
export async function buildNode(
  progress: Progress,
  signal: AbortSignal,
  kernel: KernelSeries = DEFAULT_KERNEL,
): Promise<BuiltNode> {
  const [executable, { packages, kernelPackages }] = await Promise.all([
    progress.step('agent', 'building lacre as one executable file', () => buildAgent(signal)),
    archives(kernel, progress, signal),
  ]);
  const hash = await hashOf([packages.sha256, kernelPackages.sha256, imaPolicy(UID_POOL_BASE)]);
  const base = join(cacheFolder(), `${nodePrefix(kernel)}-${hash}`);
  await once(base, (part) => buildBase({ packages, kernelPackages }, part, progress, signal));
  const full = join(base, `root-${executable.sha256.slice(0, 16)}`);
  await once(full, (part) =>
    progress.step('root', 'making the root file system with the agent', () =>
      buildRoot(base, part, agentFiles(executable), signal),
    ),
  );
  await removeOthers([dirname(packages.path), dirname(kernelPackages.path), base, full], kernel);
  const facts = FACTS.parse(JSON.parse(await readFile(join(base, 'facts.json'), 'utf8')));
  return {
    ...facts,
    kernel: join(base, 'vmlinuz'),
    measuredKernel: join(base, 'vmlinuz-measured'),
    initrd: join(base, 'initrd'),
    verifiedInitrd: join(base, 'initrd-verified'),
    seal: join(base, 'seal'),
    root: join(full, 'root.squashfs'),
    rootArchive: join(full, 'root.tar'),
    data: join(base, 'data.img'),
    eventLog: join(base, 'event-log'),
    demoArchive: join(base, 'demo.tar'),
    changedService: join(base, 'changed-service'),
    changedHealth: join(base, 'changed-health'),
    spareModule: join(base, 'spare-module'),
    kernelSeries: kernel,
    packages: packages.path,
    imageNames: IMAGE_NAMES,
    executable,
    base,
  };
}

async function buildBase(
  { packages, kernelPackages }: Archives,
  folder: string,
  progress: Progress,
  signal: AbortSignal,
): Promise<void> {
  await progress.step('node', 'building the node: init, initrd, images of the demo', async () => {
    const file = (name: string, bytes: Uint8Array | string) => writeFile(join(folder, name), bytes);
    const wanted = (path: string) => !/^usr\/(include|share\/(?!containers))/.test(path);
    const suite = await FileTree.fromTar(packages.path, wanted);
    const kernelTree = kernelPackages === packages ? suite : await FileTree.fromTar(kernelPackages.path, wanted);
    const toolchain = await Toolchain.unpack(packages.path, join(folder, 'sysroot'), signal);
    const [kernel, seal, labInit, noexecHook] = await Promise.all([
      takeKernel(kernelTree, signal),
      toolchain.staticProgram('node/seal.c'),
      toolchain.staticProgram('lab/lab-init.c'),
      toolchain.staticProgram('node/noexec-hook.c'),
    ]);
    const initrd = {
      seal,
      modules: kernel.modules,
      uidPoolBase: UID_POOL_BASE,
      root: '/dev/vda squashfs',
      nextInit: NEXT_INIT,
    };
    await file('vmlinuz', kernel.image);
    await file('initrd', makeInitrd(initrd));
    const modules = [...kernel.modules, ...kernel.verityModules];
    await file('initrd-verified', makeInitrd({ ...initrd, modules, root: '/dev/dm-0 squashfs' }));
    await file('seal', seal);
    await file('spare-module', kernel.spareModule.bytes);
    const images = await makeDemoImages(suite, toolchain, folder);
    await file('changed-service', images.changedService);
    await file('changed-health', images.changedHealth);
    const root = await makeNodeRoot(suite, { labInit, noexecHook });
    await pipeline(root.tar(), createWriteStream(join(folder, 'base.tar')));
    await writeSquashfs(root, join(folder, 'base.squashfs'), signal);
    const facts = { demo: images.manifestDigests.demo, stranger: images.manifestDigests.stranger };
    await file(
      'facts.json',
      JSON.stringify({ kernelVersion: kernel.version, demoDigest: facts.demo, strangerDigest: facts.stranger }),
    );
    await rm(join(folder, 'sysroot'), { recursive: true });
  });
  await progress.step('referenceBoot', "reference boot: firmware's values, and the images into the node", () =>
    referenceBoot(folder, signal),
  );
  const [image, initrd, eventLog] = await Promise.all(
    ['vmlinuz', 'initrd', 'event-log'].map((name) => readFile(join(folder, name))),
  );
  if (!image || !initrd || !eventLog) throw new LacreError('lab.build.kernel', 'the reference boot left no event log');
  await writeFile(join(folder, 'vmlinuz-measured'), measuredKernel(image, initrd.length, eventLog));
  await rm(join(folder, 'base.squashfs'));
  await rm(join(folder, 'stranger.tar'));
}

/** A file of this machine that goes into the node's root. */
export interface RootFile {
  /** In the node. */
  readonly path: string;
  readonly source: string;
  readonly mode: number;
}

export function agentFiles(agent: AgentExecutable): RootFile[] {
  return [
    { path: AGENT_PATH, source: agent.path, mode: 0o755 },
    { path: AGENT_NATIVE_PATH, source: agent.native, mode: 0o400 },
  ];
}

/** Makes root.tar and root.squashfs in `folder`: the node's files with these. Throws lab.build.archive where a library is missing. */
export async function buildRoot(
  base: string,
  folder: string,
  files: readonly RootFile[],
  signal: AbortSignal,
): Promise<void> {
  const root = await FileTree.fromTar(join(base, 'base.tar'), () => true);
  for (const { path, source, mode } of files) {
    const bytes = await readFile(source);
    sharedLibraries(root, bytes);
    root.file(path.slice(1), bytes, mode);
  }
  await Promise.all([
    pipeline(root.tar(), createWriteStream(join(folder, 'root.tar'))),
    writeSquashfs(root, join(folder, 'root.squashfs'), signal),
  ]);
}

async function hashOf(texts: readonly string[]): Promise<string> {
  const hash = createHash('sha256').update(JSON.stringify(texts));
  for (const folder of SOURCES) {
    const entries = await readdir(join(PROJECT, folder), { withFileTypes: true });
    for (const name of entries
      .filter((entry) => entry.isFile() && !entry.name.endsWith('.test.ts'))
      .map(({ name }) => name)
      .sort())
      hash.update(JSON.stringify([folder, name])).update(await readFile(join(PROJECT, folder, name)));
  }
  return hash.digest('hex').slice(0, 16);
}
