const BATCH = 200;
const WARM_UP = 2000;

/** How often `work` is done in a second of CPU, after a warm-up. */
export async function perSecond(work: () => unknown, seconds: number): Promise<number> {
  for (let done = 0; done < WARM_UP; done += 1) await work();
  const began = cpuSeconds();
  let done = 0;
  for (; cpuSeconds() - began < seconds; done += BATCH) for (let turn = 0; turn < BATCH; turn += 1) await work();
  return done / (cpuSeconds() - began);
}

/** CPU time of this process, user and system, all threads. */
export function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}
