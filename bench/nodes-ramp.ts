import type { ChildProcess } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type FleetFigures, mergeFigures } from '../test/simulator/fleet-record.ts';
import { ask, cpuOf, percentile, probe, startFleet, startServer } from './nodes.ts';
import type { FleetPlan } from './nodes-fleet.ts';

// More and more nodes on one server, as far as this machine goes: `node bench/nodes-ramp.ts [SECONDS [MOST]]`. Stands still
// at each step, so that what joining costs is not measured. Ends where a step passes a bound, or the time is over.

const FLEETS = 2;
const STEPS = [100, 1000, 3000, 5000, 7000, 10_000];
/** Each node quotes at least once. */
const STEP_MS = 17_000;
const JOINS_PER_SECOND = 300;
export const BOUNDS = { verdictMs: 1000, residentMb: 2000 } as const;

export interface RampStep {
  readonly nodes: number;
  readonly verdictsPerSecond: number;
  readonly svidsPerSecond: number;
  readonly verdictP50Ms: number;
  readonly verdictP99Ms: number;
  readonly untrusted: number;
  /** Processor time of the server for a verdict, with what is renewed under it: milliseconds. */
  readonly serverMsPerVerdict: number;
  /** Of one core. */
  readonly serverCpuPercent: number;
  /** Of one core, and not the server's: the nodes are played on the same machine. */
  readonly fleetCpuPercent: number;
  readonly loopP99Ms: number;
  /** Megabytes of 10^6. */
  readonly residentMb: number;
  readonly joinSeconds: number;
  readonly faults: FleetFigures['faults'];
}

export interface RampResult {
  readonly steps: readonly RampStep[];
  /** Why it went no further. */
  readonly ended: string;
}

export interface RampSettings {
  readonly seconds: number;
  readonly most: number;
  readonly workloads: number;
  readonly extraEntries: number;
}

/** @param seen is told of each step. */
export async function rampNodes(settings: RampSettings, seen: (step: RampStep) => void): Promise<RampResult> {
  const directory = await mkdtemp(join(tmpdir(), 'lacre-ramp-'));
  const children: ChildProcess[] = [];
  const endsAt = performance.now() + settings.seconds * 1000;
  const steps: RampStep[] = [];
  try {
    const { server, plan, adminSocket } = await startServer(directory);
    children.push(server);
    const fleets = Array.from({ length: FLEETS }, startFleet);
    children.push(...fleets);
    const { workloads, extraEntries } = settings;
    const shared = { ...plan, adminSocket, seed: 1, workloads, extraEntries, rate: JOINS_PER_SECOND / FLEETS };
    for (const to of STEPS.filter((nodes) => nodes <= settings.most)) {
      const from = steps.at(-1)?.nodes ?? 0;
      const joinSeconds = await grow(fleets, shared, { from, to }, endsAt - performance.now());
      if (joinSeconds === undefined) return { steps, ended: `the time was over before ${to} nodes had joined` };
      const step = { nodes: to, joinSeconds, ...(await stand(server, fleets)) };
      steps.push(step);
      seen(step);
      if (step.verdictP99Ms > BOUNDS.verdictMs)
        return { steps, ended: `p99 of a verdict passed ${BOUNDS.verdictMs} ms` };
      if (step.residentMb > BOUNDS.residentMb) return { steps, ended: `the server passed ${BOUNDS.residentMb} MB` };
    }
    return { steps, ended: 'all nodes joined' };
  } finally {
    for (const child of children) child.kill('SIGKILL');
    await rm(directory, { recursive: true, force: true });
  }
}

/** Each fleet plays its part of the nodes that come. Undefined: not all of them joined in this time. */
async function grow(
  fleets: readonly ChildProcess[],
  plan: Omit<FleetPlan, 'from' | 'to'>,
  { from, to }: { readonly from: number; readonly to: number },
  leftMs: number,
): Promise<number | undefined> {
  const started = performance.now();
  const edge = (part: number) => from + Math.round(((to - from) * part) / fleets.length);
  const joined = fleets.map((fleet, part) => ask(fleet, { join: { ...plan, from: edge(part), to: edge(part + 1) } }));
  const all = Promise.all(joined).then(() => (performance.now() - started) / 1000);
  all.catch(() => undefined);
  return Promise.race([all, delay(Math.max(0, leftMs), undefined, { ref: false })]);
}

async function stand(
  server: ChildProcess,
  fleets: readonly ChildProcess[],
): Promise<Omit<RampStep, 'nodes' | 'joinSeconds'>> {
  await probe(server, 'running');
  const fleetCpu = await cpuOf(fleets);
  await Promise.all(fleets.map((fleet) => ask(fleet, { begin: true })));
  await delay(STEP_MS);
  const taken = fleets.map((fleet) => ask<{ figures: FleetFigures }>(fleet, { take: true }));
  const { cpuSeconds, rssMb, loopP99Ms } = await probe(server, 'running');
  const fleetSeconds = (await cpuOf(fleets)) - fleetCpu;
  const figures = mergeFigures((await Promise.all(taken)).map((one) => one.figures));
  const seconds = STEP_MS / 1000;
  return {
    verdictsPerSecond: figures.verdicts / seconds,
    svidsPerSecond: figures.svids / seconds,
    verdictP50Ms: percentile(figures.verdictMs, 0.5),
    // Without a verdict nothing was in time.
    verdictP99Ms: figures.verdicts === 0 ? Number.POSITIVE_INFINITY : percentile(figures.verdictMs, 0.99),
    untrusted: figures.untrusted,
    serverMsPerVerdict: (1000 * cpuSeconds) / figures.verdicts,
    serverCpuPercent: (100 * cpuSeconds) / seconds,
    fleetCpuPercent: (100 * fleetSeconds) / seconds,
    loopP99Ms,
    residentMb: (rssMb * 2 ** 20) / 1e6,
    faults: figures.faults,
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [seconds = 290, most = 10_000] = process.argv.slice(2).map(Number);
  const fixed = (value: number, digits = 0) => value.toFixed(digits);
  const columns = [
    'nodes',
    'verdicts/s',
    'SVIDs/s',
    'p50 ms',
    'p99 ms',
    'server ms/verdict',
    'server %',
    'fleet %',
    'server MB',
  ];
  console.log(columns.join('\t'));
  const { ended } = await rampNodes({ seconds, most, workloads: 20, extraEntries: 200 }, (step) => {
    const { nodes, verdictsPerSecond, svidsPerSecond, verdictP50Ms, verdictP99Ms } = step;
    const rates = [fixed(nodes), fixed(verdictsPerSecond, 1), fixed(svidsPerSecond, 1)];
    const costs = [step.serverCpuPercent, step.fleetCpuPercent, step.residentMb].map((value) => fixed(value));
    const times = [fixed(verdictP50Ms), fixed(verdictP99Ms), fixed(step.serverMsPerVerdict, 2)];
    console.log([...rates, ...times, ...costs, JSON.stringify(step.faults)].join('\t'));
  });
  console.log(ended);
  process.exit(0);
}
