import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { imaPolicy } from '../../src/ima/policy.ts';
import { type BuiltNode, buildNode } from '../../src/lab/image/node-build.ts';
import { UID_POOL_BASE } from '../../src/lab/image/node-root.ts';
import { missingPrograms } from '../../src/lab/lab.ts';
import { endLeftOver, LabRun } from '../../src/lab/lab-folder.ts';
import { ControlChannel } from '../../src/lab/machine/control-channel.ts';
import { startMachine } from '../../src/lab/machine/machine.ts';
import { makeTpm, startTpm } from '../../src/lab/machine/software-tpm.ts';
import { Progress } from '../../src/lab/progress.ts';
import { path } from '../core-run.ts';
import { endOnInterrupt } from '../interrupt.ts';
import type { Context, Outcome } from '../measure.ts';
import { figure, median } from '../statistics.ts';

export const name = 'node-overhead';
export const about =
  'what starting a process costs on a real kernel with the IMA policy, and without: in the lab, on an emulated processor';

const BOOT_TIME_LIMIT_MS = 180_000;
const [AGAIN, FIRST] = [150, 40];
/** In the node: a tmpfs that the policy measures as any other file system. */
const PROGRAM = '/run/process-start';

interface Starts {
  /** Milliseconds to start and end a program that has run before. */
  readonly againMs: number;
  /** The same of one whose file nobody has executed yet: with the policy it is hashed, logged, and extended into the TPM. */
  readonly firstMs: number;
}

export async function run({ quick, say }: Context): Promise<Outcome> {
  const missing = await missingPrograms();
  if (missing.length > 0) throw new Error(`the lab needs ${missing.join(', ')}`);
  const stop = new AbortController();
  const node = await buildNode(new Progress(() => undefined), stop.signal);
  const folder = await mkdtemp(join(tmpdir(), 'lacre-overhead-'));
  try {
    const program = compile(folder);
    const { size } = await stat(program);
    const without = join(folder, 'initrd');
    await writeFile(without, await withoutRules(node.initrd));
    say('a node without rules that measure');
    const off = await bootAndStart({ ...node, initrd: without }, program, quick, stop.signal);
    say('the same node with its policy');
    const on = await bootAndStart(node, program, quick, stop.signal);
    const row = (what: string, [before, after]: [number, number]) => ({
      measure: `${what}, IMA policy off and on, in the lab (emulated processor: see docs/performance.md)`,
      goal: '',
      seen: `${figure(before)} and ${figure(after)} ms: ${figure(after - before)} ms more, ${figure(after / before)} ×`,
    });
    return {
      rows: [
        row('a process started whose program has run before', [off.againMs, on.againMs]),
        row(`a process started whose program (${Math.round(size / 1000)} kB) nobody has run yet`, [
          off.firstMs,
          on.firstMs,
        ]),
      ],
      details: { off, on },
    };
  } finally {
    stop.abort();
    await rm(folder, { recursive: true, force: true });
  }
}

async function bootAndStart(node: BuiltNode, program: string, quick: boolean, signal: AbortSignal): Promise<Starts> {
  await endLeftOver();
  const run = await LabRun.make();
  const settled = endOnInterrupt(() => run.end());
  try {
    const tpmFolder = join(run.folder, 'tpm');
    await mkdir(tpmFolder);
    const tpm = await makeTpm(tpmFolder, signal);
    await run.own(await startTpm(tpm));
    const { kernel, initrd, root, data } = node;
    const disks = { kernel, initrd, root, data, keepsData: false };
    const machine = await startMachine({ ...disks, tpm, folder: run.folder, relays: new Map() });
    await run.own(machine.service);
    const control = await ControlChannel.open(machine.controlSocket, BOOT_TIME_LIMIT_MS, signal);
    await control.writeFile(PROGRAM, await readFile(program), { mode: 0o755 });
    const started = async (...args: string[]) => Number(await control.must([PROGRAM, ...args], 120_000)) / 1e6;
    const again: number[] = [];
    for (let round = 0; round < (quick ? 3 : 5); round += 1) again.push(await started('again', String(AGAIN)));
    const firstMs = await started('first', String(FIRST), '/run');
    control.close();
    return { againMs: median(again), firstMs };
  } finally {
    settled();
    await run.end();
  }
}

/** The node's initrd with a policy of one rule that measures nothing, of the same length: all else stays where it is. */
async function withoutRules(initrd: string): Promise<Uint8Array> {
  const bytes = gunzipSync(await readFile(initrd));
  const policy = Buffer.from(imaPolicy(UID_POOL_BASE));
  const at = bytes.indexOf(policy);
  if (at < 0) throw new Error('the initrd does not hold the policy');
  const rule = 'dont_measure fsmagic=0x9fa0\n#';
  bytes.write(`${rule}${'-'.repeat(policy.length - rule.length - 1)}\n`, at);
  return gzipSync(bytes, { level: 1 });
}

function compile(folder: string): string {
  const program = join(folder, 'process-start');
  const args = ['-O2', '-static', '-s', '-o', program, path('process-start.c')];
  const { status, stderr } = spawnSync('gcc', args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`gcc could not compile process-start.c: ${stderr}`);
  return program;
}
