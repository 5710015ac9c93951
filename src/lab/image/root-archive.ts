import { rename } from 'node:fs/promises';
import { LacreError } from '../../lacre-error.ts';
import { runProgram } from '../program.ts';

export const SUITE = 'trixie';

/**
 * What the node's root, its kernel and the demo are taken from. tiny-initramfs stands in for the generator that the
 * kernel's package asks for, and stays out of the root: the lab makes its own initrd. The development packages are for
 * compiling against the libraries of this very suite.
 */
export const PACKAGES: readonly string[] = [
  'podman',
  'crun',
  'conmon',
  'netavark',
  'curl',
  'libstdc++6',
  'linux-image-cloud-amd64',
  'tiny-initramfs',
  'libc6-dev',
  'libssl-dev',
];

const OPTIONS: readonly string[] = [
  '--variant=extract',
  '--aptopt=APT::Install-Recommends "false"',
  '--aptopt=Acquire::Languages "none"',
  '--dpkgopt=path-exclude=/usr/share/doc/*',
  '--dpkgopt=path-exclude=/usr/share/man/*',
  '--dpkgopt=path-exclude=/usr/share/locale/*',
];

/** Packages of one suite. */
export interface PackageSet {
  readonly suite: string;
  readonly packages: readonly string[];
}

/** The node's userland, and with it the kernel of its own suite. */
export const ROOT_PACKAGES: PackageSet = { suite: SUITE, packages: PACKAGES };

/** Kernels that the node can boot, by series: the suite's own, or another suite's below the same userland. */
export const KERNELS = {
  '6.12': undefined,
  '6.1': { suite: 'bookworm', packages: ['linux-image-cloud-amd64', 'tiny-initramfs'] },
} as const satisfies Readonly<Record<string, PackageSet | undefined>>;

export type KernelSeries = keyof typeof KERNELS;
export const DEFAULT_KERNEL: KernelSeries = '6.12';

/** Throws lab.kernel.unknown. */
export function kernelOf(series: string): KernelSeries {
  const known = Object.keys(KERNELS) as KernelSeries[];
  const found = known.find((name) => name === series);
  if (found !== undefined) return found;
  throw new LacreError('lab.kernel.unknown', `the lab has no kernel ${series}: there are ${known.join(' and ')}`);
}

/** What decides which archive is made, apart from the mirror's state when it is made. */
export function archiveInputs({ suite, packages }: PackageSet): string[] {
  return [suite, ...packages, ...OPTIONS];
}

/**
 * Makes a tar file of the packages' files: resolved and verified by apt against the distribution's keys, unpacked, and
 * nothing of them executed. Works as an ordinary user too (mmdebstrap then uses a user namespace).
 */
export async function makeArchive({ suite, packages }: PackageSet, path: string, signal: AbortSignal): Promise<void> {
  const part = `${path}.part.tar`;
  await runProgram('mmdebstrap', ['--quiet', ...OPTIONS, `--include=${packages.join(',')}`, suite, part], { signal });
  await rename(part, path);
}
