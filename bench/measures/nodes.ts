import type { Context, Outcome, Plot, Row } from '../measure.ts';
import { measureNodes } from '../nodes.ts';
import { BOUNDS, type RampStep, rampNodes } from '../nodes-ramp.ts';
import { figure } from '../statistics.ts';

export const name = 'nodes';
export const about =
  'nodes on one server, a quote each per 15 s, 20 workloads each that renew: real TLS and store, TPMs in native crypto';

const [MOST_NODES, SMALL_NODES, SMALL_MB, MOST_DELAY_MS] = [10_000, 100, 200, 20];
const FLEET = { workloads: 20, extraEntries: 200 };

export async function run({ quick, say }: Context): Promise<Outcome> {
  const small = await measureNodes({ ...FLEET, seed: 1, count: SMALL_NODES, seconds: 20 });
  const limits = quick ? { seconds: 120, most: 1000 } : { seconds: 280, most: MOST_NODES };
  const { steps, ended } = await rampNodes({ ...FLEET, ...limits }, ({ nodes, verdictP99Ms, residentMb }) =>
    say(`${nodes.toLocaleString('en')} nodes: p99 ${figure(verdictP99Ms)} ms, ${residentMb.toFixed(0)} MB`),
  );
  const carried = steps.findLast(isWithinBounds);
  if (carried === undefined) throw new Error(`no step was within its bounds: ${ended}`);
  const { nodes } = carried;
  const smallMb = (small.server.rssMb * 2 ** 20) / 1e6;
  const count = nodes.toLocaleString('en');
  const rows: Row[] = [
    {
      measure: `nodes on one server, ${FLEET.workloads} workloads each, p99 of a verdict ≤ ${BOUNDS.verdictMs} ms, ≤ ${BOUNDS.residentMb} MB`,
      goal: MOST_NODES.toLocaleString('en'),
      seen: `${count}: p99 ${figure(carried.verdictP99Ms)} ms (p50 ${figure(carried.verdictP50Ms)}), ${carried.residentMb.toFixed(0)} MB; ${ended}`,
      met: nodes >= MOST_NODES,
    },
    {
      measure: `${count} nodes: the server's processor time for a verdict, and what it renews`,
      goal: '',
      seen: `${figure(carried.serverMsPerVerdict)} ms at ${figure(carried.verdictsPerSecond)} verdicts and ${figure(carried.svidsPerSecond)} SVIDs a second: ${figure(carried.serverCpuPercent)} % of a core; the fleet on the same cores ${figure(carried.fleetCpuPercent)} %`,
    },
    {
      measure: `${count} nodes: p99 of the server's event loop delay`,
      goal: `≤ ${MOST_DELAY_MS} ms`,
      seen: `${figure(carried.loopP99Ms)} ms`,
      met: carried.loopP99Ms <= MOST_DELAY_MS,
    },
    {
      measure: `server, resident memory, ${SMALL_NODES} nodes`,
      goal: `≤ ${SMALL_MB} MB`,
      seen: `${smallMb.toFixed(0)} MB`,
      met: smallMb <= SMALL_MB,
    },
  ];
  return { rows, plots: plotsOf(steps), details: { small, steps, ended } };
}

function isWithinBounds({ verdictP99Ms, residentMb, untrusted }: RampStep): boolean {
  return verdictP99Ms <= BOUNDS.verdictMs && residentMb <= BOUNDS.residentMb && untrusted === 0;
}

function plotsOf(steps: readonly RampStep[]): Plot[] {
  const line = (name: string, value: (step: RampStep) => number) =>
    steps.map((step) => ({ name, x: step.nodes, y: value(step) }));
  return [
    {
      title: 'Time to a verdict, by nodes on one server',
      x: 'nodes',
      y: 'milliseconds',
      logX: true,
      logY: true,
      points: [...line('p50', (step) => step.verdictP50Ms), ...line('p99', (step) => step.verdictP99Ms)],
    },
    {
      title: 'What nodes cost the server',
      x: 'nodes',
      y: '% of a core, MB',
      logX: true,
      logY: true,
      points: [
        ...line('CPU, % of a core', (step) => step.serverCpuPercent),
        ...line('resident memory, MB', (step) => step.residentMb),
      ],
    },
  ];
}
