import { readdir, readFile } from 'node:fs/promises';

/** CPU time of all threads that a process has now, in milliseconds, as the scheduler counts it (nanoseconds). */
export async function cpuMs(pid: number): Promise<number> {
  const threads = await readdir(`/proc/${pid}/task`);
  const times = await Promise.all(
    threads.map(async (thread) => {
      // A thread that has just ended is gone with its time.
      const text = await readFile(`/proc/${pid}/task/${thread}/schedstat`, 'latin1').catch(() => '0');
      return Number(text.split(' ')[0]) / 1e6;
    }),
  );
  return times.reduce((sum, time) => sum + time, 0);
}

/** Resident memory in MB of 10^6 bytes; `anonymous` is what no file backs. */
export async function residentMb(pid: number): Promise<{ readonly all: number; readonly anonymous: number }> {
  const status = await readFile(`/proc/${pid}/status`, 'latin1');
  const of = (name: string) => (Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1]) * 1024) / 1e6;
  return { all: of('VmRSS'), anonymous: of('RssAnon') };
}

/** Of several processes together. */
export async function cpuOfAll(pids: readonly number[]): Promise<number> {
  const each = await Promise.all(pids.map((pid) => cpuMs(pid)));
  return each.reduce((sum, ms) => sum + ms, 0);
}
