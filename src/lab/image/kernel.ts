import { LacreError } from '../../lacre-error.ts';
import { runProgram } from '../program.ts';
import type { FileTree } from './file-tree.ts';

export interface KernelModule {
  readonly name: string;
  /** Uncompressed, with its signature. */
  readonly bytes: Uint8Array;
}

export interface Kernel {
  readonly version: string;
  readonly image: Uint8Array;
  /** In the order of loading. */
  readonly modules: readonly KernelModule[];
  /** Those that a verified root takes besides, to be loaded after the others. */
  readonly verityModules: readonly KernelModule[];
  /** One that the node doesn't load. */
  readonly spareModule: KernelModule;
}

/**
 * What the node needs and the cloud kernels have as modules: bus, disk, root file system, containers, network, control
 * channel. Those that a kernel has built in are left out.
 */
const WANTED_MODULES = [
  ...['virtio_pci', 'virtio_blk', 'squashfs', 'overlay', 'virtio_net', 'virtio_rng', 'virtio_console', 'fuse'],
] as const;
/** Signed by the distribution as all of them, and loaded by no node. */
const SPARE_MODULE = 'dummy';

const VERITY_MODULES = ['dm_verity'] as const;

/** The kernel of a root that holds exactly one, with the modules that the node loads and what they depend on. */
export async function takeKernel(tree: FileTree, signal: AbortSignal): Promise<Kernel> {
  const images = tree.paths().filter((path) => /^boot\/vmlinuz-[^/]+$/.test(path));
  const [image] = images;
  if (image === undefined || images.length > 1) {
    throw new LacreError('lab.build.archive', `one kernel is wanted in the packages, not ${images.length}`);
  }
  const version = image.slice('boot/vmlinuz-'.length);
  const paths = new Map(
    tree
      .paths()
      .filter((path) => path.replace(/^usr\//, '').startsWith(`lib/modules/${version}/`) && /\.ko(\.xz)?$/.test(path))
      .map((path) => [moduleName(path), path]),
  );
  const loaded = new Map<string, KernelModule>();
  const load = async (name: string): Promise<void> => {
    const path = paths.get(name);
    if (path === undefined || loaded.has(name)) return; // built into the kernel, or there already
    const bytes = await uncompressed(tree.resolve(path).bytes, path, signal);
    for (const dependency of dependencies(bytes)) await load(dependency);
    loaded.set(name, { name, bytes });
  };
  for (const name of WANTED_MODULES) await load(name);
  const modules = [...loaded.values()];
  for (const name of VERITY_MODULES) await load(name);
  const verityModules = [...loaded.values()].slice(modules.length);
  await load(SPARE_MODULE);
  const spareModule = loaded.get(SPARE_MODULE);
  if (spareModule === undefined) {
    throw new LacreError('lab.build.archive', `the kernel's package has no module ${SPARE_MODULE}`);
  }
  return { version, image: tree.resolve(image).bytes, modules, verityModules, spareModule };
}

/** Names of modules are written with - and _ alike. */
function moduleName(path: string): string {
  return path
    .replace(/^.*\//, '')
    .replace(/\.ko(\.xz)?$/, '')
    .replaceAll('-', '_');
}

async function uncompressed(bytes: Uint8Array, path: string, signal: AbortSignal): Promise<Uint8Array> {
  return path.endsWith('.xz') ? runProgram('xz', ['--decompress', '--stdout'], { input: bytes, signal }) : bytes;
}

/** The line "depends=a,b" of a module's .modinfo section. */
function dependencies(module: Uint8Array): string[] {
  const text = Buffer.from(module.buffer, module.byteOffset, module.byteLength).toString('latin1');
  const at = text.indexOf('\0depends=');
  if (at < 0) return [];
  return text
    .slice(at + '\0depends='.length, text.indexOf('\0', at + 1))
    .split(',')
    .filter((name) => name !== '')
    .map(moduleName);
}
