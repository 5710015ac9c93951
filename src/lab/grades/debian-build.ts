import { createWriteStream } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { once } from '../image/build-folder.ts';
import { FileTree } from '../image/file-tree.ts';
import { agentFiles, type BuiltNode } from '../image/node-build.ts';
import { NEXT_INIT, writeSquashfs } from '../image/node-root.ts';
import { archive, archives } from '../image/package-archive.ts';
import { bootOnce } from '../image/reference-boot.ts';
import { DEFAULT_KERNEL, SUITE } from '../image/root-archive.ts';
import type { ControlChannel } from '../machine/control-channel.ts';
import { COMMAND_LINE } from '../machine/machine.ts';
import { runProgram } from '../program.ts';
import type { Progress } from '../progress.ts';
import { type BootParts, measuredBy } from './boot-parts.ts';

/** A Debian that makes its own initrd; what is Essential there is named, as nothing is configured. */
const PACKAGES = [
  ...['initramfs-tools', 'busybox', 'kmod', 'udev', 'zstd', 'cpio', 'gzip'],
  ...[
    'dash',
    'bash',
    'coreutils',
    'grep',
    'sed',
    'mawk',
    'findutils',
    'util-linux',
    'mount',
    'debianutils',
    'dpkg',
    'libc-bin',
  ],
] as const;

/** What the administrator of such a node sets: a list of modules, as nobody plugs disks into this machine. */
const MODULES = ['virtio_blk', 'squashfs', 'overlay', 'virtio_net', 'virtio_rng'];
/** Not all of the cloud kernel's: depmod takes its time on an emulated processor. */
const KERNEL_FILES =
  /^(boot\/config-|usr\/lib\/modules\/[^/]+\/(modules\.|kernel\/(drivers\/(acpi|block|char|net\/[^/]+\.ko|virtio)|fs\/(overlayfs|squashfs)|net\/core|lib)))/;
const CONF = 'etc/initramfs-tools';
const SEAL = 'usr/lib/lacre/seal';
const PREPARED = ['etc/lacre/ima-policy', 'etc/sysctl.d/60-lacre.conf', `${CONF}/hooks/lacre`] as const;
const DISK = '/var/lib/containers';
const MERGED = `${DISK}/merged`;
const SLOW_MS = 300_000;

/** Root, its own initrd, its own first program after that. */
const DEBIAN_COMMAND_LINE = `${COMMAND_LINE} rdinit=/lacre/seal root=/dev/vda rootfstype=squashfs ro init=${NEXT_INIT}`;

/**
 * A Debian node that `lacre node prepare --apply` and update-initramfs, both run on the real kernel, have made ready.
 * @param key of everything that this is made by.
 */
export async function buildDebian(
  built: BuiltNode,
  key: string,
  progress: Progress,
  signal: AbortSignal,
): Promise<BootParts> {
  const folder = join(dirname(built.root), `debian-${key}`);
  await once(folder, async (part) => {
    const tree = await debianTree(built, progress, signal);
    await progress.step('prepare', 'a Debian: lacre node prepare --apply and update-initramfs in it', () =>
      prepare(built, tree, part, signal),
    );
  });
  const at = (name: string) => join(folder, name);
  return {
    ...{ name: 'debian', kernel: built.kernel, measuredKernel: at('vmlinuz-measured') },
    ...{ initrd: at('initrd'), root: at('root.squashfs'), rootArchive: at('root.tar') },
    commandLine: DEBIAN_COMMAND_LINE,
  };
}

/** The lab's node with Debian's tools, modules and generator of initrds. */
async function debianTree(built: BuiltNode, progress: Progress, signal: AbortSignal): Promise<FileTree> {
  const sentence = "fetching Debian's tools and initramfs-tools (versions are resolved now)";
  const fetching = (make: () => Promise<void>) => progress.step('debian', sentence, make);
  const tools = await archive('debian', { suite: SUITE, packages: PACKAGES }, fetching, signal);
  const { kernelPackages } = await archives(DEFAULT_KERNEL, progress, signal);
  const tree = await FileTree.fromTar(join(built.base, 'base.tar'), () => true);
  const take = async (path: string, wanted: RegExp) => {
    const from = await FileTree.fromTar(path, (name) => wanted.test(name));
    for (const name of from.paths()) if (!tree.has(name)) tree.add(name, from.get(name));
  };
  await take(tools.path, /^(etc|usr\/(bin|sbin|lib|share\/initramfs-tools))\//);
  await take(kernelPackages.path, KERNEL_FILES);
  tree.link('usr/bin/awk', 'mawk'); // an alternative, which a maintainer script would set
  tree.file(`${CONF}/modules`, `${MODULES.join('\n')}\n`);
  const settings = Buffer.from(tree.resolve(`${CONF}/initramfs.conf`).bytes).toString();
  tree.file(`${CONF}/initramfs.conf`, settings.replace(/^MODULES=.*$/m, 'MODULES=list'));
  for (const { path, source, mode } of agentFiles(built.executable))
    tree.file(path.slice(1), await readFile(source), mode);
  return tree.file(SEAL, await readFile(built.seal), 0o755);
}

async function prepare(built: BuiltNode, tree: FileTree, folder: string, signal: AbortSignal): Promise<void> {
  const version = built.kernelVersion;
  const initrdPath = `boot/initrd.img-${version}`;
  const [root, data] = [join(folder, 'before.squashfs'), join(folder, 'data.img')];
  await writeSquashfs(tree, root, signal);
  await runProgram('mke2fs', ['-q', '-F', '-t', 'ext4', data, '512M'], { signal });
  await bootOnce({ kernel: built.kernel, initrd: built.initrd, root, data }, signal, async (node) => {
    await prepareInNode(node, version);
    for (const path of [...PREPARED, initrdPath])
      tree.file(path, await wholeFile(node, `${MERGED}/${path}`), path.includes('hooks') ? 0o755 : 0o644);
  });
  await Promise.all([rm(root), rm(data)]);
  const initrd = tree.resolve(initrdPath).bytes;
  await writeFile(join(folder, 'initrd'), initrd);
  await writeFile(join(folder, 'vmlinuz-measured'), await measuredBy(built, initrd.length));
  await pipeline(tree.tar(), createWriteStream(join(folder, 'root.tar')));
  await writeSquashfs(tree, join(folder, 'root.squashfs'), signal);
}

/** In a writable view of the node's own root, as on a disk that can be written. */
async function prepareInNode(node: ControlChannel, version: string): Promise<void> {
  const layers = `lowerdir=/,upperdir=${DISK}/upper,workdir=${DISK}/work`;
  await node.must(['/usr/bin/mkdir', `${DISK}/upper`, `${DISK}/work`, MERGED]);
  await node.must(['/usr/bin/mount', '-t', 'overlay', 'overlay', '-o', layers, MERGED]);
  for (const name of ['proc', 'sys', 'dev'])
    await node.must(['/usr/bin/mount', '--rbind', `/${name}`, `${MERGED}/${name}`]);
  const inside = (...argv: readonly string[]) => ['/usr/sbin/chroot', MERGED, ...argv];
  await node.must(inside('/usr/sbin/depmod', version), SLOW_MS);
  await node.run(inside('/usr/bin/lacre', 'node', 'prepare', '--apply'), SLOW_MS); // 3: there is no initrd yet
  await node.must(inside('/usr/sbin/update-initramfs', '-c', '-k', version), SLOW_MS);
}

async function wholeFile(node: ControlChannel, path: string): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (let offset = 0; ; ) {
    const part = await node.readFile(path, offset);
    if (part.length === 0) return Buffer.concat(parts);
    parts.push(part);
    offset += part.length;
  }
}
