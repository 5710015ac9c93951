import { cpus, loadavg, release, totalmem } from 'node:os';

/** What the figures were measured on. */
export interface Machine {
  readonly processor: string;
  readonly cores: number;
  readonly memoryGb: number;
  readonly kernel: string;
  readonly node: string;
  /** Runnable processes, over the last minute, before the first measure. */
  readonly load: number;
}

export function describeMachine(): Machine {
  const all = cpus();
  return {
    processor: all[0]?.model ?? 'unknown',
    cores: all.length,
    memoryGb: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
    load: Math.round((loadavg()[0] ?? 0) * 100) / 100,
  };
}

export function machineSentence({ processor, cores, memoryGb, kernel, node, load }: Machine): string {
  const core = cores === 1 ? 'core' : 'cores';
  return `${processor}, ${cores} ${core}, ${memoryGb} GiB, Linux ${kernel}, Node ${node}, load ${load} at the start`;
}
