import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheFolder } from '../lab-folder.ts';
import type { Progress } from '../progress.ts';
import { once } from './build-folder.ts';
import {
  archiveInputs,
  KERNELS,
  type KernelSeries,
  makeArchive,
  type PackageSet,
  ROOT_PACKAGES,
} from './root-archive.ts';

/** A tar file in the cache. */
export interface Archive {
  readonly path: string;
  readonly sha256: string;
}

export interface Archives {
  readonly packages: Archive;
  /** The same where the kernel is the suite's own. */
  readonly kernelPackages: Archive;
}

/** The packages of the node, and those of its kernel: fetched unless they are there. */
export async function archives(kernel: KernelSeries, progress: Progress, signal: AbortSignal): Promise<Archives> {
  const sentence = 'fetching the node: kernel, podman, libraries (versions are resolved now)';
  const packages = await archive(
    'packages',
    ROOT_PACKAGES,
    (make) => progress.step('packages', sentence, make),
    signal,
  );
  const other = KERNELS[kernel];
  if (other === undefined) return { packages, kernelPackages: packages };
  const fetching = (make: () => Promise<void>) =>
    progress.step('kernel', `fetching the kernel of ${other.suite}`, make);
  return { packages, kernelPackages: await archive(`kernel-${kernel}`, other, fetching, signal) };
}

/** The packages of a set, fetched unless they are in the cache. @param name of its folder there. */
export async function archive(
  name: string,
  set: PackageSet,
  step: (make: () => Promise<void>) => Promise<void>,
  signal: AbortSignal,
): Promise<Archive> {
  const key = createHash('sha256')
    .update(JSON.stringify(archiveInputs(set)))
    .digest('hex')
    .slice(0, 16);
  const folder = join(cacheFolder(), `${name}-${key}`);
  await once(folder, (part) =>
    step(async () => {
      await makeArchive(set, join(part, 'root.tar'), signal);
      const hash = createHash('sha256').update(await readFile(join(part, 'root.tar')));
      await writeFile(join(part, 'root.tar.sha256'), hash.digest('hex'));
    }),
  );
  return { path: join(folder, 'root.tar'), sha256: await readFile(join(folder, 'root.tar.sha256'), 'utf8') };
}
