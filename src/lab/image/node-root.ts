import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runProgram } from '../program.ts';
import { FileTree } from './file-tree.ts';
import { withoutUserNamespaces } from './seccomp-profile.ts';
import { sharedLibraries } from './shared-libraries.ts';

export const UID_POOL_BASE = 200_000;
export const NEXT_INIT = '/usr/lib/lacre/lab-init';
const HOOK_PATH = 'usr/lib/lacre/noexec-hook';
const HOOK_SETTINGS = ['60-lacre-noexec-configuration.json', '60-lacre-noexec-mounts.json'];
const DEPLOY = join(import.meta.dirname, '../../../deploy/node');
export const AGENT_PATH = '/usr/bin/lacre';
/** The agent puts its native part there, into its own data folder. */
export const AGENT_NATIVE_PATH = '/var/lib/lacre/agent/lacre.node';
export const AGENT_UID = 950;
const POOL_LENGTH = 20_000_000;

/** Programs of the node: containers and nothing else. No shell, no general-purpose tool. */
const PROGRAMS = ['usr/bin/podman', 'usr/bin/crun', 'usr/bin/conmon', 'usr/lib/podman/netavark'];

/** Libraries of Node, which is the agent's executable. */
const AGENT_LIBRARIES = ['libc.so.6', 'libdl.so.2', 'libgcc_s.so.1', 'libm.so.6', 'libpthread.so.0', 'libstdc++.so.6'];

/** Where the file systems that lab-init mounts, and podman's state, go. */
const FOLDERS = [
  'dev',
  'proc',
  'sys',
  'run',
  'tmp',
  'root',
  'var/tmp',
  'var/lib/containers',
  'var/lib/lacre',
  'var/log',
  'etc/lacre',
];

const SETTINGS: Readonly<Record<string, string>> = {
  'etc/passwd': `root:x:0:0:root:/root:/usr/sbin/nologin\nlacre:x:${AGENT_UID}:${AGENT_UID}:lacre agent:/var/lib/lacre:/usr/sbin/nologin\n`,
  'etc/group': `root:x:0:\nlacre:x:${AGENT_UID}:\n`,
  'etc/hosts': '127.0.0.1 localhost node\n::1 localhost\n',
  'etc/hostname': 'node\n',
  'etc/resolv.conf': '',
  'etc/machine-id': '',
  'etc/subuid': `containers:${UID_POOL_BASE}:${POOL_LENGTH}\n`,
  'etc/subgid': `containers:${UID_POOL_BASE}:${POOL_LENGTH}\n`,
  'etc/containers/policy.json': '{"default":[{"type":"insecureAcceptAnything"}]}\n',
  'etc/containers/storage.conf':
    '[storage]\ndriver = "overlay"\ngraphroot = "/var/lib/containers/storage"\nrunroot = "/run/containers/storage"\n',
  'etc/containers/containers.conf': [
    '[engine]',
    'cgroup_manager = "cgroupfs"',
    'events_logger = "none"',
    'runtime = "crun"',
    '[containers]',
    'log_driver = "k8s-file"',
    'seccomp_profile = "/etc/containers/seccomp-lacre.json"',
    '',
  ].join('\n'),
};

/** The programs of Lacre that the root holds beside the agent: static executables. */
export interface NodePrograms {
  readonly labInit: Uint8Array;
  readonly noexecHook: Uint8Array;
}

/** The node's root file system without the agent, from the files of the packages and Lacre's own. */
export async function makeNodeRoot(suite: FileTree, programs: NodePrograms): Promise<FileTree> {
  const root = new FileTree();
  for (const folder of FOLDERS) root.folder(folder, folder === 'tmp' || folder === 'var/tmp' ? 0o1777 : 0o755);
  for (const link of ['bin', 'sbin', 'lib', 'lib64']) root.link(link, `usr/${link}`);
  for (const program of PROGRAMS) {
    const { bytes } = suite.resolve(program);
    root.file(program, bytes, 0o755);
    for (const path of sharedLibraries(suite, bytes)) copy(suite, root, path);
  }
  for (const name of AGENT_LIBRARIES) copy(suite, root, `usr/lib/x86_64-linux-gnu/${name}`);
  copy(suite, root, 'usr/lib64/ld-linux-x86-64.so.2');
  root.link('etc/mtab', '../proc/self/mounts');
  for (const [path, text] of Object.entries(SETTINGS)) root.file(path, text);
  const stock = Buffer.from(suite.resolve('usr/share/containers/seccomp.json').bytes).toString();
  root.file('etc/containers/seccomp-lacre.json', withoutUserNamespaces(stock));
  root.file(NEXT_INIT.slice(1), programs.labInit, 0o755);
  root.file(HOOK_PATH, programs.noexecHook, 0o755);
  for (const name of HOOK_SETTINGS)
    root.file(`usr/share/containers/oci/hooks.d/${name}`, await readFile(join(DEPLOY, name)));
  return root;
}

/** A library under its name, and the file that the name leads to. */
function copy(suite: FileTree, root: FileTree, path: string): void {
  const { path: file, bytes } = suite.resolve(path);
  root.file(file, bytes, 0o755);
  if (file !== path) root.link(path, `/${file}`);
}

/** Writes the tree as squashfs, uncompressed: the node reads it through an emulated processor. */
export async function writeSquashfs(tree: FileTree, path: string, signal: AbortSignal): Promise<void> {
  const plain = [
    '-noI',
    '-noD',
    '-noF',
    '-noX',
    '-no-xattrs',
    '-quiet',
    '-no-progress',
    '-mkfs-time',
    '0',
    '-all-time',
    '0',
  ];
  await runProgram('sqfstar', [...plain, path], { input: tree.tar(), signal });
}
