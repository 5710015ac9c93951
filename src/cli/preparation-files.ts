import { access, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { imaPolicy } from '../ima/policy.ts';
import type { PreparedItem } from './preparation.ts';

/** Where a node keeps the first program of its initrd: deploy/node/seal.c, a static executable. */
export const SEAL_PATH = 'usr/lib/lacre/seal';
export const POLICY_PATH = 'etc/lacre/ima-policy';

/** uids that a node's containers may use, from the pool's base on. */
const POOL_LENGTH = 20_000_000;

/** Settings that the command line makes, in a file as well. */
const SETTINGS = [
  'kernel.kexec_load_disabled = 1',
  'kernel.yama.ptrace_scope = 3',
  'kernel.unprivileged_userns_clone = 0',
] as const;

/** Run by update-initramfs: puts the first program and the policy where that program looks for it. */
const HOOK = `#!/bin/sh
# Written by lacre node prepare. The initrd gets the IMA policy, and the program that loads it before anything else runs:
# rdinit=/lacre/seal on the kernel's command line starts it.
if [ "$1" = prereqs ]; then
	exit 0
fi
mkdir -p "$DESTDIR/lacre"
cp /${SEAL_PATH} "$DESTDIR/lacre/seal"
cp /${POLICY_PATH} "$DESTDIR/policy"
`;

/** What lies in files of the node's root. */
export async function fileItems(root: string, uidPoolBase: number): Promise<PreparedItem[]> {
  return Promise.all([
    policyItem(root, uidPoolBase),
    sealItem(root),
    hookItem(root),
    sysctlItem(root),
    ...['subuid', 'subgid'].map((name) => poolItem(root, name, uidPoolBase)),
    usersItem(root, uidPoolBase),
  ]);
}

async function policyItem(root: string, uidPoolBase: number): Promise<PreparedItem> {
  const path = join(root, POLICY_PATH);
  const content = imaPolicy(uidPoolBase);
  const seen = await readText(path);
  return {
    name: 'IMA policy',
    need: 'host:standard',
    state: seen === content ? 'there' : 'missing',
    wanted: `${path} with ${content.trimEnd().split('\n').length} rules for ranges from ${uidPoolBase} on`,
    seen: seen === undefined ? 'no such file' : 'other rules',
    why: 'tells the kernel what to measure, and into which PCR; loaded by the measured initrd, so that the boot proves it',
    write: { path, content },
  };
}

async function sealItem(root: string): Promise<PreparedItem> {
  const path = join(root, SEAL_PATH);
  const there = await isThere(path);
  return {
    name: 'first program of the initrd',
    need: 'host:standard',
    state: there ? 'there' : 'missing',
    wanted: `${path}: gcc -static -O2 -o seal deploy/node/seal.c`,
    seen: there ? path : 'no such file',
    why: 'loads the policy before anything is executed, and then goes on with the distribution’s own initrd',
  };
}

/** initramfs-tools' way to put files into an initrd; other generators have their own. */
async function hookItem(root: string): Promise<PreparedItem> {
  const path = join(root, 'etc/initramfs-tools/hooks/lacre');
  const hasGenerator = await isThere(join(root, 'etc/initramfs-tools'));
  const seen = await readText(path);
  return {
    name: 'hook of the initrd',
    need: 'host:standard',
    state: !hasGenerator ? 'unknown' : seen === HOOK ? 'there' : 'missing',
    wanted: hasGenerator
      ? `${path}, executable, for update-initramfs`
      : `/lacre/seal and /policy in the initrd, by whatever makes it`,
    seen: !hasGenerator ? 'no initramfs-tools' : seen === undefined ? 'no such file' : 'another hook',
    why: 'puts the policy and the program that loads it into every initrd of this node',
    ...(hasGenerator && { write: { path, content: HOOK, mode: 0o755 } }),
  };
}

async function sysctlItem(root: string): Promise<PreparedItem> {
  const path = join(root, 'etc/sysctl.d/60-lacre.conf');
  const content = SETTINGS.map((line) => `${line}\n`).join('');
  const seen = await readText(path);
  return {
    name: 'kernel settings',
    need: 'containers',
    state: seen === content ? 'there' : 'missing',
    wanted: `${path} with ${SETTINGS.join(', ')}`,
    seen: seen === undefined ? 'no such file' : 'other settings',
    why: 'the same settings as on the command line, for whatever sets them back at boot; only the command line is proven',
    write: { path, content },
  };
}

/** /etc/subuid and /etc/subgid: where `podman --userns=auto` takes its ranges from. */
async function poolItem(root: string, name: string, uidPoolBase: number): Promise<PreparedItem> {
  const path = join(root, 'etc', name);
  const text = (await readText(path)) ?? '';
  const ranges = text.split('\n').filter((line) => /^[^:]+:\d+:\d+$/.test(line));
  const others = ranges.filter((line) => !line.startsWith('containers:'));
  const own = ranges.find((line) => line.startsWith('containers:'));
  const start = Number(own?.split(':')[1] ?? -1);
  const wanted = `containers:${uidPoolBase}:${POOL_LENGTH}`;
  return {
    name: `/etc/${name}`,
    need: 'containers',
    state: start >= uidPoolBase ? 'there' : 'missing',
    wanted,
    seen: own ?? 'no line for containers',
    why: 'gives every container a range of its own, above every user of the host: entries then name their container',
    write: { path, content: `${[...others, wanted].join('\n')}\n` },
  };
}

async function usersItem(root: string, uidPoolBase: number): Promise<PreparedItem> {
  const text = await readText(join(root, 'etc/passwd'));
  const above = (text ?? '').split('\n').filter((line) => Number(line.split(':')[2]) >= uidPoolBase);
  return {
    name: 'users below the pool',
    need: 'containers',
    state: text === undefined ? 'unknown' : above.length === 0 ? 'there' : 'missing',
    wanted: `no user of the host with a uid of ${uidPoolBase} or more`,
    seen: text === undefined ? 'no /etc/passwd' : above.map((line) => line.split(':')[0]).join(', ') || 'none',
    why: "an entry's owner tells host and containers apart only while their uids do not mix",
  };
}

export async function readText(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').catch(() => undefined);
}

/** Also where this user may not look at it. */
export async function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => error.code !== 'ENOENT',
  );
}
