import { access, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { imaPolicy } from '../ima/policy.ts';

/** One thing that a node needs. */
export interface PreparedItem {
  readonly name: string;
  readonly state: 'there' | 'missing' | 'unknown';
  readonly wanted: string;
  readonly seen: string;
  /** What it is good for, and what is lost without it. */
  readonly why: string;
  /** Where --apply writes, and what. */
  readonly write?: { readonly path: string; readonly content: string };
}

/** uids that a node's containers may use, from the pool's base on. */
const POOL_LENGTH = 20_000_000;

/** Words of the command line, and why each is there (DESIGN section 4). */
const COMMAND_LINE: readonly (readonly [string, string])[] = [
  ['lockdown=integrity', 'kernel code stays closed: no unsigned module, no kexec of an unsigned image'],
  ['sysctl.kernel.kexec_load_disabled=1', 'no kexec, which would keep the PCRs and drop the list'],
  ['sysctl.kernel.yama.ptrace_scope=3', 'no process, root neither, writes into another one'],
  [
    'sysctl.kernel.unprivileged_userns_clone=0',
    'no nested user namespaces, with which a container forges the owner in an entry',
  ],
];

/** What the node with this root folder has and lacks; reads only. */
export async function preparationItems(root: string, uidPoolBase: number): Promise<PreparedItem[]> {
  const files = await Promise.all([
    policyItem(root, uidPoolBase),
    sysctlItem(root),
    ...['subuid', 'subgid'].map((name) => poolItem(root, name, uidPoolBase)),
    usersItem(root, uidPoolBase),
  ]);
  return [...files, ...(root === '/' ? await runningItems() : [])];
}

/** Writes an item that is missing and can be written, whole or not at all; true where it did. */
export async function applyItem(item: PreparedItem): Promise<boolean> {
  if (item.state !== 'missing' || !item.write) return false;
  const { path, content } = item.write;
  await mkdir(dirname(path), { recursive: true });
  const part = `${path}.lacre-part`;
  await writeFile(part, content, { mode: 0o644 });
  await rename(part, path);
  return true;
}

async function policyItem(root: string, uidPoolBase: number): Promise<PreparedItem> {
  const path = join(root, 'etc/lacre/ima-policy');
  const content = imaPolicy(uidPoolBase);
  const seen = await readText(path);
  return {
    name: 'IMA policy',
    state: seen === content ? 'there' : 'missing',
    wanted: `${path} with ${content.trimEnd().split('\n').length} rules for ranges from ${uidPoolBase} on, put into the measured initrd, whose first program loads it`,
    seen: seen === undefined ? 'no such file' : 'other rules',
    why: 'tells the kernel what to measure, and into which PCR; loaded by the measured initrd, so that the boot proves it',
    write: { path, content },
  };
}

async function sysctlItem(root: string): Promise<PreparedItem> {
  const path = join(root, 'etc/sysctl.d/60-lacre.conf');
  const content = COMMAND_LINE.flatMap(([word]) =>
    word.startsWith('sysctl.') ? [`${word.slice('sysctl.'.length).replace('=', ' = ')}\n`] : [],
  ).join('');
  const seen = await readText(path);
  return {
    name: 'kernel settings',
    state: seen === content ? 'there' : 'missing',
    wanted: `${path} with ${content.trimEnd().replaceAll('\n', ', ')}`,
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
    state: text === undefined ? 'unknown' : above.length === 0 ? 'there' : 'missing',
    wanted: `no user of the host with a uid of ${uidPoolBase} or more`,
    seen: text === undefined ? 'no /etc/passwd' : above.map((line) => line.split(':')[0]).join(', ') || 'none',
    why: "an entry's owner tells host and containers apart only while their uids do not mix",
  };
}

/** What only a running node shows. */
async function runningItems(): Promise<PreparedItem[]> {
  const line = (await readText('/proc/cmdline'))?.trim();
  const words = new Set(line?.split(/\s+/));
  const boot = COMMAND_LINE.map(
    ([word, why]): PreparedItem => ({
      name: `command line: ${word}`,
      state: line === undefined ? 'unknown' : words.has(word) ? 'there' : 'missing',
      wanted: `${word} on the kernel's command line, and that line in the reference values`,
      seen: line ?? 'not readable',
      why,
    }),
  );
  return [
    ...boot,
    await fileItem('TPM', '/dev/tpmrm0', 'everything is signed by it'),
    await fileItem(
      'measurement list',
      '/sys/kernel/security/ima/binary_runtime_measurements',
      'the kernel keeps it when IMA is built in',
    ),
  ];
}

async function fileItem(name: string, path: string, why: string): Promise<PreparedItem> {
  const there = await access(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => error.code !== 'ENOENT',
  );
  return { name, state: there ? 'there' : 'missing', wanted: path, seen: there ? path : 'no such file', why };
}

async function readText(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').catch(() => undefined);
}
