import { rename } from 'node:fs/promises';
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

/** What decides which archive is made, apart from the mirror's state when it is made. */
export const ROOT_ARCHIVE_INPUTS: readonly string[] = [SUITE, ...PACKAGES, ...OPTIONS];

/**
 * Makes a tar file of the packages' files: resolved and verified by apt against the distribution's keys, unpacked, and
 * nothing of them executed. Works as an ordinary user too (mmdebstrap then uses a user namespace).
 */
export async function makeRootArchive(path: string, signal: AbortSignal): Promise<void> {
  const part = `${path}.part.tar`;
  await runProgram('mmdebstrap', ['--quiet', ...OPTIONS, `--include=${PACKAGES.join(',')}`, SUITE, part], { signal });
  await rename(part, path);
}
