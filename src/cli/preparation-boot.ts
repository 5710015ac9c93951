import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readCommandLine } from '../appraisal/command-line-facts.ts';
import { judgeTool } from '../appraisal/host-file.ts';
import { hostFilesFromInitrd, type InitrdContents } from '../appraisal/reference/initrd-files.ts';
import { sightingOf } from '../appraisal/sighting.ts';
import { sha256Hex } from '../bytes/sha256.ts';
import { ListReplay } from '../ima/list-replay.ts';
import { imaPolicy } from '../ima/policy.ts';
import { LacreError } from '../lacre-error.ts';
import type { Need, PreparedItem } from './preparation.ts';
import { isThere, readText, SEAL_PATH } from './preparation-files.ts';

export const LIST_PATH = '/sys/kernel/security/ima/binary_runtime_measurements';
/** Starts the first program of an initrd that a distribution made. */
export const SEAL_PARAMETER = 'rdinit=/lacre/seal';

/** Words of the command line, and why each is there (DESIGN section 4). */
const COMMAND_LINE: readonly (readonly [word: string, need: Need, why: string])[] = [
  [
    'lockdown=integrity',
    'host:standard',
    'kernel code stays closed: no unsigned module, no kexec of an unsigned image',
  ],
  ['sysctl.kernel.kexec_load_disabled=1', 'host:standard', 'no kexec, which would keep the PCRs and drop the list'],
  ['sysctl.kernel.yama.ptrace_scope=3', 'host:sealed', 'no process, root neither, writes into another one'],
  [
    'sysctl.kernel.unprivileged_userns_clone=0',
    'containers',
    'no nested user namespaces, with which a container forges the owner in an entry',
  ],
];

/** What the initrd does for the policy. */
export interface InitrdLook {
  readonly item: PreparedItem;
  /** The program that loads the policy is its /init, and needs no word on the command line. */
  readonly startsItself: boolean;
}

/** The newest initrd in /boot, or that of the running kernel: whether it loads this policy. */
export async function lookIntoInitrd(root: string, uidPoolBase: number): Promise<InitrdLook> {
  const path = await initrdPath(root);
  const look = (state: PreparedItem['state'], seen: string, startsItself = false): InitrdLook => ({
    startsItself,
    item: {
      name: 'initrd',
      need: 'host:standard',
      state,
      wanted: `${path ?? '/boot/initrd.img-…'} with this policy and its first program: update-initramfs -u, and a reboot`,
      seen,
      why: 'it is measured as a whole, so it proves which policy was loaded first',
    },
  });
  if (path === undefined) return look('unknown', 'no initrd in /boot');
  const seal = await readFile(join(root, SEAL_PATH)).catch(() => undefined);
  const contents = await readInitrd(path);
  if (contents === undefined) return look('unknown', `${path} can't be read`);
  if (Buffer.from(contents.policy ?? []).toString() !== imaPolicy(uidPoolBase))
    return look('missing', contents.policy === undefined ? 'no /policy in it' : 'another policy in it');
  const isSeal = (name: string) => seal !== undefined && contents.files.has(name, sha256Hex(seal));
  if (isSeal('/init')) return look('there', path, true);
  return isSeal('/lacre/seal') ? look('there', path) : look('missing', 'the policy, but not the program that loads it');
}

async function initrdPath(root: string): Promise<string | undefined> {
  const names = (await readdir(join(root, 'boot')).catch(() => [])).filter((name) => name.startsWith('initrd.img-'));
  const running = root === '/' ? (await readText('/proc/sys/kernel/osrelease'))?.trim() : undefined;
  const name = names.find((one) => one === `initrd.img-${running}`) ?? names.sort().at(-1);
  return name === undefined ? undefined : join(root, 'boot', name);
}

async function readInitrd(path: string): Promise<InitrdContents | undefined> {
  const bytes = await readFile(path).catch(() => undefined);
  try {
    return bytes && hostFilesFromInitrd(bytes);
  } catch (error) {
    if (error instanceof LacreError) return undefined;
    throw error;
  }
}

/** What only a running node shows. */
export async function runningItems(initrd: InitrdLook): Promise<PreparedItem[]> {
  const line = (await readText('/proc/cmdline'))?.trim();
  return [
    ...commandLineItems(line, initrd),
    await presenceItem('TPM', '/dev/tpmrm0', 'everything is signed by it'),
    await presenceItem('measurement list', LIST_PATH, 'the kernel keeps it when IMA is built in'),
    toolsItem(await readFile(LIST_PATH).catch(() => undefined)),
  ];
}

/** @param line of the running kernel; undefined: not readable. */
export function commandLineItems(
  line: string | undefined,
  { startsItself }: Pick<InitrdLook, 'startsItself'>,
): PreparedItem[] {
  const words = new Set(line?.split(/\s+/));
  const item = (word: string, need: Need, why: string, isThere_: boolean): PreparedItem => ({
    name: `command line: ${word}`,
    need,
    state: line === undefined ? 'unknown' : isThere_ ? 'there' : 'missing',
    wanted: `${word} on the kernel's command line, and that line in the reference values`,
    seen: line ?? 'not readable',
    why,
  });
  const verity = 'dm-mod.create="…verity…"';
  const starts =
    'starts the initrd with the program that loads the policy; an initrd whose /init it is needs no such word';
  return [
    item(SEAL_PARAMETER, 'host:standard', starts, startsItself || words.has(SEAL_PARAMETER)),
    ...COMMAND_LINE.map(([word, need, why]) => item(word, need, why, words.has(word))),
    item(
      verity,
      'host:sealed',
      'the kernel checks every block of the root by a hash on the measured line (roothash= where systemd does it)',
      readCommandLine(line ?? '').rootDigestHex !== undefined,
    ),
  ];
}

/** @param list binary_runtime_measurements; undefined: not readable. */
export function toolsItem(list: Uint8Array | undefined): PreparedItem {
  const tools = list === undefined ? [] : executedTools(list);
  return {
    name: 'no general-purpose tool',
    need: 'host:sealed',
    state: tools === undefined || list === undefined ? 'unknown' : tools.length === 0 ? 'there' : 'missing',
    wanted: 'no shell, interpreter, debugger or engine client in the measurement list of this boot',
    seen: list === undefined || tools === undefined ? 'the list is not readable' : tools.join(', ') || 'none',
    why: 'with one of them root does anything without a program of its own',
  };
}

function executedTools(list: Uint8Array): string[] | undefined {
  const zero = new Uint8Array(32);
  try {
    const entries = new ListReplay({ pcr10: zero, pcr13: zero, pcr14: zero }).append(list);
    const paths = entries
      .filter(({ template, violation }) => template !== 'evm-sig' && !violation)
      .filter((entry) => judgeTool(sightingOf(entry)) !== undefined)
      .map(({ path }) => path);
    return [...new Set(paths)];
  } catch (error) {
    if (error instanceof LacreError) return undefined;
    throw error;
  }
}

async function presenceItem(name: string, path: string, why: string): Promise<PreparedItem> {
  const there = await isThere(path);
  const state = there ? 'there' : 'missing';
  return { name, need: 'host:standard', state, wanted: path, seen: there ? path : 'no such file', why };
}
