// The distribution's packages that a step needs: looks for what each one brings, and asks apt for those that are absent.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** `brings`: a program to look for in PATH (and the sbin folders), or the absolute paths of which one must exist. */
const PACKAGES = [
  { name: 'qemu-system-x86', brings: 'qemu-system-x86_64', for: ['lab'] },
  { name: 'ovmf', brings: ['/usr/share/OVMF/OVMF_CODE_4M.fd'], for: ['lab'] },
  { name: 'swtpm', brings: 'swtpm', for: ['lab', 'test'] },
  { name: 'swtpm-tools', brings: 'swtpm_setup', for: ['lab', 'test'] },
  { name: 'mmdebstrap', brings: 'mmdebstrap', for: ['lab'] },
  {
    name: 'debian-archive-keyring',
    brings: ['/usr/share/keyrings/debian-archive-keyring.gpg', '/usr/share/keyrings/debian-archive-keyring.pgp'],
    for: ['lab'],
  },
  { name: 'e2fsprogs', brings: 'mke2fs', for: ['lab'] },
  { name: 'squashfs-tools', brings: 'sqfstar', for: ['lab'] },
  { name: 'cryptsetup-bin', brings: 'veritysetup', for: ['lab'] },
  { name: 'xz-utils', brings: 'xz', for: ['lab'] },
  { name: 'gcc', brings: 'gcc', for: ['lab', 'test'] },
  { name: 'libc6-dev', brings: ['/usr/include/stdio.h'], for: ['lab', 'test'] },
  { name: 'binutils', brings: 'strip', for: ['lab', 'test'] },
  { name: 'curl', brings: 'curl', for: ['test'] },
  { name: 'gcab', brings: 'gcab', for: ['test'] },
  { name: 'spin', brings: 'spin', for: ['test'] },
  { name: 'tpm2-tools', brings: 'tpm2_eventlog', for: ['test'] },
  { name: 'crun', brings: ['/usr/bin/crun', '/usr/sbin/runc', '/usr/bin/runc'], for: ['test'] },
  { name: 'podman', brings: 'podman', for: ['test'] },
  { name: 'docker.io', brings: 'dockerd', for: ['test'] },
  { name: 'containerd', brings: 'containerd', for: ['test'] },
  { name: 'uidmap', brings: 'newuidmap', for: ['lab'], onlyUser: true },
];

function findProgram(name) {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin', '/usr/local/sbin'];
  return folders.some((folder) => folder !== '' && existsSync(join(folder, name)));
}

function isThere({ brings }) {
  return Array.isArray(brings) ? brings.some((path) => existsSync(path)) : findProgram(brings);
}

/** Names of the packages that `purposes` need and that this machine lacks. */
export function missingPackages(purposes) {
  const isRoot = process.getuid?.() === 0;
  return PACKAGES.filter((p) => p.for.some((purpose) => purposes.includes(purpose)))
    .filter((p) => !(p.onlyUser && isRoot))
    .filter((p) => !isThere(p))
    .map((p) => p.name);
}

/**
 * Installs what is missing with apt, as root only. Without root or apt it prints what to install and stops with status
 * 5; where `optional`, it says what will be left out and goes on.
 */
export function installPackages(purposes, { say, fail, optional = false }) {
  const missing = missingPackages(purposes);
  if (missing.length === 0) return;
  const command = `apt-get install --no-install-recommends ${missing.join(' ')}`;
  if (process.getuid?.() !== 0 || !findProgram('apt-get')) {
    const text = `these packages are missing: ${missing.join(', ')}. As root: ${command}`;
    if (!optional) return fail(text, 5);
    say(`${text} (what needs them is left out)`);
    return;
  }
  say(`installing from the distribution: ${missing.join(', ')}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const apt = (...args) =>
    spawnSync('apt-get', ['-qq', '-o', 'Dpkg::Use-Pty=0', ...args], { stdio: ['ignore', 'ignore', 2], env });
  let result = apt('install', '-y', '--no-install-recommends', ...missing);
  if (result.status !== 0) {
    apt('update');
    result = apt('install', '-y', '--no-install-recommends', ...missing);
  }
  if (result.status === 0) return;
  const text = `apt-get could not install ${missing.join(', ')}; by hand: ${command}`;
  if (!optional) fail(text, 5);
  else say(text);
}
