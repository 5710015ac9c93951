import { type ChildProcess, fork } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Answer, Order } from './worker-messages.ts';

const HOOKS = join(import.meta.dirname, 'worker-hooks.ts');
const WORKER = join(import.meta.dirname, 'worker.ts');
/** V8's code and the blanked types of what isn't mutated: a process starts in a third of the time. */
const CACHE = join(import.meta.dirname, '../../build/mutation/cache');
/** A mutant that keeps everything must not take the machine with it. */
const HEAP_MIB = 768;

/** What came of an order: an answer; no answer in time; the process ended. */
export type Outcome = Answer | { readonly kind: 'timeout' } | { readonly kind: 'crashed' };

/** A process that has loaded test files. */
export class WorkerProcess implements Disposable {
  readonly #child: ChildProcess;
  #onOutcome: ((outcome: Outcome) => void) | undefined;
  #ended = false;

  private constructor(testFiles: readonly string[], manifestPath: string, active: number) {
    this.#child = fork(WORKER, testFiles, {
      execArgv: ['--import', HOOKS, `--max-old-space-size=${HEAP_MIB}`],
      env: {
        ...process.env,
        NODE_NO_WARNINGS: '1',
        NODE_COMPILE_CACHE: CACHE,
        LACRE_MUTATION_MANIFEST: manifestPath,
        LACRE_MUTATION_ACTIVE: String(active),
      },
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    });
    this.#child.on('message', (message) => this.#onOutcome?.(message as Answer));
    this.#child.on('exit', () => {
      this.#ended = true;
      this.#onOutcome?.({ kind: 'crashed' });
    });
  }

  /** @param active the mutant that is on while the files are loaded; 0 for none. */
  static async start(
    testFiles: readonly string[],
    manifestPath: string,
    active: number,
    boundCpuMs: number,
  ): Promise<{ worker: WorkerProcess; outcome: Outcome }> {
    const worker = new WorkerProcess(testFiles, manifestPath, active);
    return { worker, outcome: await worker.#wait(boundCpuMs) };
  }

  /**
   * Orders one at a time. After a timeout or a crash the worker is done.
   * @param boundOf the CPU time in ms that a test of the order may take.
   */
  async run(order: Order, boundCpuMs: number, boundOf?: (test: number) => number): Promise<Outcome> {
    if (this.#ended) return { kind: 'crashed' };
    const outcome = this.#wait(boundCpuMs, boundOf);
    this.#child.send(order, () => undefined);
    return outcome;
  }

  /** CPU time, so that a busy machine makes no timeout; a worker that only waits has ten times as long by the clock. */
  #wait(firstBoundCpuMs: number, boundOf = (_test: number) => firstBoundCpuMs): Promise<Outcome> {
    return new Promise((resolve) => {
      let since = { ms: performance.now(), cpuMs: this.#cpuMs(), boundCpuMs: firstBoundCpuMs };
      const done = (outcome: Outcome): void => {
        clearInterval(timer);
        this.#onOutcome = undefined;
        resolve(outcome);
      };
      const timer = setInterval(() => {
        const late = performance.now() - since.ms > 10_000 + 10 * since.boundCpuMs;
        if (!late && this.#cpuMs() - since.cpuMs < since.boundCpuMs) return;
        this.#child.kill('SIGKILL');
        done({ kind: 'timeout' });
      }, 200);
      this.#onOutcome = (outcome) => {
        if (outcome.kind !== 'begins') return done(outcome);
        since = { ms: performance.now(), cpuMs: this.#cpuMs(), boundCpuMs: boundOf(outcome.test) };
      };
    });
  }

  /** Of the worker's process until now (proc(5), fields 14 and 15 of stat, in ticks of 10 ms); elsewhere 0. */
  #cpuMs(): number {
    try {
      const text = readFileSync(`/proc/${this.#child.pid}/stat`, 'latin1');
      const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
      return 10 * (Number(fields[11]) + Number(fields[12]));
    } catch {
      return 0;
    }
  }

  [Symbol.dispose](): void {
    if (!this.#ended && this.#child.connected) this.#child.disconnect();
    setTimeout(() => this.#child.kill('SIGKILL'), 5000).unref();
  }
}
