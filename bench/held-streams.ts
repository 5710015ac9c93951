import type { ChildProcess } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';

/** Streams that are held open by one client. */
export class HeldStreams {
  readonly #client: ChildProcess;
  readonly #count: number;
  readonly #ends = new Map<number, { readonly unixMs: number; readonly why: string }>();
  #svids = 0;
  #rest = '';

  constructor(client: ChildProcess, count: number) {
    this.#client = client;
    this.#count = count;
    client.stdout?.setEncoding('utf8').on('data', (text: string) => this.#read(text));
  }

  /** Resolves when every stream has its first SVID. */
  async open(timeoutMs = 60_000): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (this.#svids < this.#count) {
      const [end] = this.#ends.values();
      if (end !== undefined) throw new Error(`a stream ended: ${end.why}`);
      if (performance.now() > deadline) throw new Error(`${this.#svids} of ${this.#count} streams brought an SVID`);
      await delay(5);
    }
  }

  /** When a workload's stream ended, by the clock of this machine; undefined: it stands. */
  endOf(workload: number): { readonly unixMs: number; readonly why: string } | undefined {
    return this.#ends.get(workload);
  }

  get ended(): number {
    return this.#ends.size;
  }

  async close(): Promise<void> {
    const exit = new Promise((resolve) => this.#client.once('exit', resolve));
    this.#client.stdin?.end();
    await exit;
  }

  #read(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      const { workload, kind, unixMs, why = '' } = JSON.parse(line);
      if (kind === 'svid') this.#svids += 1;
      else this.#ends.set(workload, { unixMs, why });
    }
  }
}
