import { writeFileSync } from 'node:fs';
import { Session } from 'node:inspector/promises';
import { monitorEventLoopDelay, performance } from 'node:perf_hooks';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

// Preloaded into the server by bench/nodes.ts: tells its event loop delay, memory and CPU since it was asked last.

/** What the probe answers. */
export interface ProbeFigures {
  readonly loopP50Ms: number;
  readonly loopP99Ms: number;
  readonly loopMaxMs: number;
  readonly rssMb: number;
  /** After a collection where it was asked for, as the next. */
  readonly heapMb: number;
  readonly externalMb: number;
  readonly cpuSeconds: number;
  readonly utilization: number;
}

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
const RESOLUTION_MS = 10;
const delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
delays.enable();
let cpu = process.cpuUsage();
let loop = performance.eventLoopUtilization();

/** LACRE_BENCH_PROFILE: where a CPU profile of the time between the second answer and the third goes. */
const profile = process.env['LACRE_BENCH_PROFILE'];
const session = new Session();
let answers = 0;

/** Asked for 'figures' it collects first; 'running' leaves heap and external memory as they are. */
process.on('message', async (asked) => {
  answers += 1;
  if (profile !== undefined && answers === 2) {
    session.connect();
    await session.post('Profiler.enable');
    await session.post('Profiler.start');
  } else if (profile !== undefined && answers === 3) {
    writeFileSync(profile, JSON.stringify((await session.post('Profiler.stop')).profile));
  }
  const { user, system } = process.cpuUsage(cpu);
  const memory = process.memoryUsage();
  if (asked !== 'running') collect();
  const kept = process.memoryUsage();
  const ms = (ns: number) => Math.max(0, ns / 1e6 - RESOLUTION_MS);
  const figures: ProbeFigures = {
    loopP50Ms: ms(delays.percentile(50)),
    loopP99Ms: ms(delays.percentile(99)),
    loopMaxMs: ms(delays.max),
    rssMb: memory.rss / 2 ** 20,
    heapMb: kept.heapUsed / 2 ** 20,
    externalMb: kept.external / 2 ** 20,
    cpuSeconds: (user + system) / 1e6,
    utilization: performance.eventLoopUtilization(loop).utilization,
  };
  process.send?.(figures);
  delays.reset();
  cpu = process.cpuUsage();
  loop = performance.eventLoopUtilization();
});
process.channel?.unref();
