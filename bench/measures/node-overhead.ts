import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { imaPolicy } from '../../src/ima/policy.ts';
import { type BuiltNode, buildNode } from '../../src/lab/image/node-build.ts';
import { UID_POOL_BASE } from '../../src/lab/image/node-root.ts';
import { missingPrograms } from '../../src/lab/lab.ts';
import { ControlChannel } from '../../src/lab/machine/control-channel.ts';
import { startMachine } from '../../src/lab/machine/machine.ts';
import { makeTpm, startTpm } from '../../src/lab/machine/software-tpm.ts';
import { killGroup, type StartedService } from '../../src/lab/program.ts';
import { Progress } from '../../src/lab/progress.ts';
import { path } from '../core-run.ts';
import { endOnInterrupt } from '../interrupt.ts';
import type { Context, Outcome } from '../measure.ts';
import { figure, median } from '../statistics.ts';

export const name = 'node-overhead';
export const about =
  'what starting a process costs on a real kernel with the IMA policy, and without: in the lab, on an emulated processor';

const BOOT_TIME_LIMIT_MS = 180_000;
const START_TIME_LIMIT_MS = 120_000;
const [AGAIN, FIRST] = [100, 20];
/** In the node: a tmpfs that the policy measures as any other file system. */
const PROGRAM = '/run/process-start';

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
    say('two nodes boot: one with its policy, one without rules that measure');
    await using on = await Booted.boot(node, program, stop.signal);
    await using off = await Booted.boot({ ...node, initrd: without }, program, stop.signal);
    say('processes start in both, in turns');
    const again: [number[], number[]] = [[], []];
    const first: [number[], number[]] = [[], []];
    for (let round = 0; round < (quick ? 4 : 10); round += 1) {
      for (const which of round % 2 === 0 ? ([0, 1] as const) : ([1, 0] as const)) {
        const booted = which === 0 ? off : on;
        again[which].push(await booted.start('again', AGAIN));
        first[which].push(await booted.start('first', FIRST));
      }
    }
    const row = (what: string, [before, after]: [number, number]) => ({
      measure: `${what}, IMA policy off and on, in the lab (emulated processor: see docs/performance.md)`,
      goal: '',
      seen: `${figure(before)} and ${figure(after)} ms: ${figure(after - before)} ms more, ${figure(after / before)} ×`,
    });
    return {
      rows: [
        row('a process started whose program has run before', [median(again[0]), median(again[1])]),
        row(`a process started whose program (${Math.round(size / 1000)} kB) nobody has run yet`, [
          median(first[0]),
          median(first[1]),
        ]),
      ],
      details: { again, first },
    };
  } finally {
    stop.abort();
    await rm(folder, { recursive: true, force: true });
  }
}

/** A node as the lab's, with the program in it; the lab itself is not touched. */
class Booted implements AsyncDisposable {
  readonly #folder: string;
  readonly #services: StartedService[] = [];
  readonly #settled: () => void;
  #control: ControlChannel | undefined;
  #rounds = 0;

  private constructor(folder: string) {
    this.#folder = folder;
    this.#settled = endOnInterrupt(() => this[Symbol.asyncDispose]());
  }

  static async boot(node: BuiltNode, program: string, signal: AbortSignal): Promise<Booted> {
    const booted = new Booted(await mkdtemp(join(tmpdir(), 'lacre-node-')));
    try {
      await booted.#boot(node, program, signal);
      return booted;
    } catch (error) {
      await booted[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #boot(node: BuiltNode, program: string, signal: AbortSignal): Promise<void> {
    const folder = this.#folder;
    await mkdir(join(folder, 'tpm'));
    const tpm = await makeTpm(join(folder, 'tpm'), signal);
    this.#services.push(await startTpm(tpm));
    const { kernel, initrd, root, data } = node;
    const machine = await startMachine({
      ...{ kernel, initrd, root, data, keepsData: false },
      ...{ tpm, folder, relays: new Map() },
    });
    this.#services.push(machine.service);
    this.#control = await ControlChannel.open(machine.controlSocket, BOOT_TIME_LIMIT_MS, signal);
    await this.#control.writeFile(PROGRAM, await readFile(program), { mode: 0o755 });
  }

  /** Milliseconds to start and end the program: once more, or copies of it that nobody has executed yet. */
  async start(how: 'again' | 'first', times: number): Promise<number> {
    this.#rounds += 1;
    // What was measured once is not measured again, whatever its name is: the copies' bytes differ by round too.
    const more = how === 'first' ? ['/run', String(1000 * this.#rounds)] : [];
    return Number(await this.#control?.must([PROGRAM, how, String(times), ...more], START_TIME_LIMIT_MS)) / 1e6;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#settled();
    this.#control?.close();
    for (const { pid } of this.#services) killGroup(pid, 'SIGKILL');
    await Promise.allSettled(this.#services.map(({ ended }) => ended));
    await rm(this.#folder, { recursive: true, force: true });
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
