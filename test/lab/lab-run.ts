import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext } from 'node:test';
import { missingPrograms } from '../../src/lab/lab.ts';
import { cacheFolder } from '../../src/lab/lab-folder.ts';

const MAIN = join(import.meta.dirname, '../../src/lab/main.ts');
/** Of a run, with the time that it waits for the runs of other tests. */
export const TIME_LIMIT_MS = 1_500_000;

/** Everything temporary of these runs, and of nobody else's, is made in it; short, for the paths of sockets. */
export const temporary = mkdtempSync(join(tmpdir(), 'lt-'));
chmodSync(temporary, 0o755); // mmdebstrap's other users work in it
after(() => rmSync(temporary, { recursive: true }));

export interface Run {
  readonly status: number | null;
  readonly output: string;
  readonly errors: string;
}

/** Runs the lab's program, one at a time on this machine: tests of several files run at once, and there is one lab. */
export function lab(args: readonly string[], interruptAt?: RegExp): Promise<Run> {
  mkdirSync(cacheFolder(), { recursive: true });
  const lock = join(cacheFolder(), 'test.lock');
  return new Promise((resolve, reject) => {
    const child = spawn('flock', ['--no-fork', lock, process.execPath, MAIN, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, TMPDIR: temporary },
    });
    let output = '';
    let errors = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      errors += text;
      if (interruptAt?.test(errors)) child.kill('SIGINT');
    });
    child.on('error', reject);
    child.on('close', (status) => resolve({ status, output, errors }));
  });
}

/** A run of the lab; once more where the emulated processor made the kernel panic, which it does in some boots of many. */
export async function bootedLab(t: TestContext, args: readonly string[]): Promise<Run> {
  const run = await lab(args);
  if (run.status === 0 || !/the machine ended.*Kernel panic/s.test(run.errors)) return run;
  t.diagnostic(`the node's kernel panicked; once more:\n${run.errors}`);
  return lab(args);
}

/** Processes whose arguments name the runs' folder. */
export function leftProcesses(): string[] {
  return readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && commandLine(pid).includes(temporary));
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return ''; // it has ended
  }
}

export const missing = await missingPrograms();
export const skip =
  missing.length > 0 && process.env['CI'] !== 'true'
    ? `the lab needs ${missing.join(', ')} (npm run lab says how)`
    : false;
