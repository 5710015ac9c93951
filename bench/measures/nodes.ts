import type { Context, Outcome, Plot, Row } from '../measure.ts';
import { measureNodes, type NodesResult } from '../nodes.ts';
import { figure } from '../statistics.ts';

export const name = 'nodes';
export const about =
  'nodes on one server, a quote each per 15 s, 20 workloads each that renew: real TLS and store, TPMs in native crypto';

const [VERDICT_MS, SERVER_MB, SMALL_MB, MOST_DELAY_MS] = [1000, 2000, 200, 20];
const SETTINGS = { seed: 1, workloads: 20, extraEntries: 200 };

/** Of MiB, which the probe gives. */
function residentMb({ server }: NodesResult): number {
  return (server.rssMb * 2 ** 20) / 1e6;
}

export async function run({ quick, say }: Context): Promise<Outcome> {
  const counts = quick ? [100, 1000] : [100, 1000, 10_000];
  const seen: NodesResult[] = [];
  for (const count of counts) {
    say(`${count.toLocaleString('en')} nodes join`);
    // Four quotes of every node, where there is the time.
    seen.push(await measureNodes({ ...SETTINGS, count, seconds: quick ? 20 : 60 }));
  }
  const [small, large] = [seen[0], seen.at(-1)];
  if (small === undefined || large === undefined) throw new Error('nothing was measured');
  const untrusted = large.untrusted === 0 ? '' : `; ${large.untrusted} verdicts did not trust their node`;
  const rows: Row[] = [
    {
      measure: `${large.count.toLocaleString('en')} nodes on one server, ${SETTINGS.workloads} workloads each: p99 of a verdict`,
      goal: `≤ ${VERDICT_MS} ms for 10,000`,
      seen: `${figure(large.verdictP99Ms)} ms (p50 ${figure(large.verdictP50Ms)}), ${figure(large.verdicts / large.seconds)} verdicts and ${figure(large.svids / large.seconds)} SVIDs a second${untrusted}`,
      met: large.verdictP99Ms <= VERDICT_MS && large.untrusted === 0 && large.verdicts > 0,
    },
    {
      measure: `the same: the server's resident memory, its CPU`,
      goal: `≤ ${SERVER_MB} MB`,
      seen: `${residentMb(large).toFixed(0)} MB, ${figure((100 * large.server.cpuSeconds) / large.seconds)} % of a core`,
      met: residentMb(large) <= SERVER_MB,
    },
    {
      measure: "the same: p99 of the server's event loop delay",
      goal: `≤ ${MOST_DELAY_MS} ms`,
      seen: `${figure(large.server.loopP99Ms)} ms`,
      met: large.server.loopP99Ms <= MOST_DELAY_MS,
    },
    {
      measure: `server, resident memory, ${small.count} nodes`,
      goal: `≤ ${SMALL_MB} MB`,
      seen: `${residentMb(small).toFixed(0)} MB`,
      met: residentMb(small) <= SMALL_MB,
    },
  ];
  return { rows, plots: plotsOf(seen), details: seen };
}

function plotsOf(seen: readonly NodesResult[]): Plot[] {
  const line = (name: string, value: (result: NodesResult) => number) =>
    seen.map((result) => ({ name, x: result.count, y: value(result) }));
  return [
    {
      title: 'Time to a verdict, by nodes on one server',
      x: 'nodes',
      y: 'milliseconds',
      logX: true,
      logY: true,
      points: [...line('p50', (result) => result.verdictP50Ms), ...line('p99', (result) => result.verdictP99Ms)],
    },
    {
      title: 'What nodes cost the server',
      x: 'nodes',
      y: '% of a core, MB',
      logX: true,
      logY: true,
      points: [
        ...line('CPU, % of a core', ({ server, seconds }) => (100 * server.cpuSeconds) / seconds),
        ...line('resident memory, MB', residentMb),
      ],
    },
  ];
}
