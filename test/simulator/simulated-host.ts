import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/**
 * What its first process does: cgroup version 2 alone in sight (some machines mount both), then reap the orphans. Process
 * 2, on a machine the kernel's own thread, is there as well.
 */
const INIT = `
sleep infinity &
if [ -d /sys/fs/cgroup/unified ]; then mount --bind /sys/fs/cgroup/unified /sys/fs/cgroup; fi
echo ready
while :; do sleep 3600 & wait $!; done`;

/** A process on the simulated host, known by the pid that the test's own namespace gives it. */
export interface HostProcess {
  readonly pid: number;
  readonly ended: Promise<unknown>;
  readonly stderr: NodeJS.ReadableStream;
}

/**
 * Pid and mount namespaces that stand for a host: its process 1 is our own, so that an agent may look at it even where
 * the machine's is out of bounds, and whatever runs in it goes with it.
 */
export class SimulatedHost {
  readonly #holder: ChildProcess;
  readonly #initPid: number;

  private constructor(holder: ChildProcess, initPid: number) {
    this.#holder = holder;
    this.#initPid = initPid;
  }

  static async start(): Promise<SimulatedHost> {
    const namespaces = ['-m', '-p', '-f', '--kill-child', '--mount-proc', '--propagation', 'private'];
    const holder = spawn('unshare', [...namespaces, 'sh', '-ec', INIT], { stdio: ['ignore', 'pipe', 'ignore'] });
    await Promise.race([
      once(holder.stdout, 'data'),
      once(holder, 'exit').then(() => Promise.reject(new Error('namespaces cannot be made here'))),
    ]);
    return new SimulatedHost(holder, await childOf(holder.pid));
  }

  /** Runs a shell script to its end; its mounts are its own. */
  async script(text: string): Promise<void> {
    await run('nsenter', [...this.into, 'unshare', '-m', '--propagation', 'private', 'sh', '-ec', text]);
  }

  /** Starts a program that stays. */
  async spawn(command: string, args: readonly string[]): Promise<HostProcess> {
    const entered = spawn('nsenter', [...this.into, command, ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
    const pid = await childOf(entered.pid);
    return { pid, ended: once(entered, 'exit'), stderr: entered.stderr };
  }

  async stop(): Promise<void> {
    if (this.#holder.exitCode !== null || this.#holder.signalCode !== null) return;
    const ended = once(this.#holder, 'exit');
    process.kill(this.#initPid, 'SIGKILL');
    await ended;
  }

  /** What nsenter is told to come into the host. */
  get into(): readonly string[] {
    return ['-t', String(this.#initPid), '-m', '-p', '--'];
  }
}

/** Both unshare and nsenter fork to enter a pid namespace: what they run is their only child. */
async function childOf(pid: number | undefined): Promise<number> {
  for (let tries = 0; tries < 500; tries++) {
    const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
    const [first = ''] = children.trim().split(' ');
    if (first !== '') return Number(first);
    await delay(5);
  }
  throw new Error(`process ${pid} started nothing`);
}
