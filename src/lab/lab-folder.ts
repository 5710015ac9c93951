import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { LacreError } from '../lacre-error.ts';
import { killGroup, type StartedService } from './program.ts';

/** Where what the lab builds is kept: for the next run, by the hash of what it is made of. */
export function cacheFolder(): string {
  const base = process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache');
  return join(base, 'lacre', 'lab');
}

const STATE = z.strictObject({
  folder: z.string(),
  /** The command that runs it. */
  owner: z.int().min(2),
  /** Leaders of process groups. */
  pids: z.array(z.int().min(2)),
});

/** A running lab: its folder of sockets, logs and keys, and its processes, written down so that `lab down` finds them. */
export class LabRun {
  readonly folder: string;
  readonly #services: StartedService[] = [];

  private constructor(folder: string) {
    this.folder = folder;
  }

  /** Sockets lie in it, whose paths may have 107 bytes: so it is a short name in the folder for temporary files. */
  static async make(): Promise<LabRun> {
    const run = new LabRun(await mkdtemp(join(tmpdir(), 'lacre-lab-')));
    await run.#write();
    return run;
  }

  async own(service: StartedService): Promise<void> {
    this.#services.push(service);
    await this.#write();
  }

  /** Leaves it running when this process ends. */
  release(): void {
    for (const service of this.#services) service.release();
  }

  /** Ends every process of it, last one first, and removes what they left. */
  async end(): Promise<void> {
    await endRun({ folder: this.folder, owner: process.pid, pids: this.#pids() });
  }

  #pids(): number[] {
    return this.#services.map(({ pid }) => pid);
  }

  async #write(): Promise<void> {
    await mkdir(cacheFolder(), { recursive: true });
    await writeFile(statePath(), JSON.stringify({ folder: this.folder, owner: process.pid, pids: this.#pids() }), {
      mode: 0o600,
    });
  }
}

/** The lab that is running or was left behind, if any. */
export async function runningLab(): Promise<z.infer<typeof STATE> | undefined> {
  const text = await readFile(statePath(), 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  return STATE.parse(JSON.parse(text));
}

/** Throws lab.running where another command is at work with it. */
export async function endLeftOver(): Promise<void> {
  const running = await runningLab();
  if (!running) return;
  const text = await readFile(`/proc/${running.owner}/cmdline`, 'utf8').catch(() => '');
  if (running.owner !== process.pid && text.split('\0').includes('up'))
    throw new LacreError('lab.running', `a lab is at work already (process ${running.owner})`);
  await endRun(running);
}

export async function endRun({ folder, pids }: z.infer<typeof STATE>): Promise<void> {
  const alive = await Promise.all(pids.map(async (pid) => ((await belongsTo(pid, folder)) ? pid : undefined)));
  for (const pid of alive.reverse()) killGroup(pid, 'SIGTERM');
  for (let tries = 0; tries < 40 && (await anyAlive(alive, folder)); tries++)
    await new Promise((r) => setTimeout(r, 50));
  for (const pid of alive) if (pid && (await belongsTo(pid, folder))) killGroup(pid, 'SIGKILL');
  await rm(folder, { recursive: true, force: true });
  await rm(statePath(), { force: true });
}

async function anyAlive(pids: readonly (number | undefined)[], folder: string): Promise<boolean> {
  const found = await Promise.all(pids.map((pid) => pid !== undefined && belongsTo(pid, folder)));
  return found.includes(true);
}

/** Process ids are given again: only one whose arguments name the run's folder is ours to end. */
async function belongsTo(pid: number, folder: string): Promise<boolean> {
  const text = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  return text.includes(folder);
}

function statePath(): string {
  return join(cacheFolder(), 'running.json');
}
