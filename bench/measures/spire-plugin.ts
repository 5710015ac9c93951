import type { Context, Outcome, Plot, Row } from '../measure.ts';
import { cpuRatio, meanOf, meanRatio, type Pair, pairs, withoutSamples } from '../pairs.ts';
import { FRESH_ENOUGH, FRESHER } from '../round.ts';
import { figure } from '../statistics.ts';

export const name = 'spire-plugin';
export const about =
  "first X.509-SVIDs from SPIRE's agent with Lacre's WorkloadAttestor, beside the same SPIRE without it";

const APIS = ['spire-lacre', 'spire'] as const;
const JUDGED = 150;
const REST_MS = 40;
const FRESH_RATIO = 1.3;

interface Seen {
  readonly count: number;
  readonly quoteMs: number;
  readonly pair: Pair;
}

export async function run({ quick, bed: bedOf, say }: Context): Promise<Outcome> {
  const counts = quick ? [1, JUDGED] : [1, 50, JUDGED, 500];
  const chips = quick ? [25, 70] : [0, 25, 70, 195];
  const most = Math.max(...counts);
  const bed = await bedOf(most);
  bed.node.proxy.quoteMs = 25;
  say("a SPIRE agent with Lacre's plugin");
  await bed.startPlugin();
  try {
    await pairs(bed, { rounds: 2, count: most, apis: APIS });
    await bed.turn('plugin', { underQuote: FRESHER, watchDelay: true });
    const seen: Seen[] = [];
    for (const quoteMs of chips) {
      bed.node.proxy.quoteMs = quoteMs;
      for (const count of counts) {
        say(`${count} at once, quotes of ${quoteMs} ms`);
        const rounds = quick ? 3 : count === JUDGED ? 6 : 3;
        seen.push({ count, quoteMs, pair: await pairs(bed, { rounds, count, apis: APIS }) });
      }
    }
    bed.node.proxy.quoteMs = 70;
    const { delayMs } = await bed.turn('plugin', { underQuote: FRESH_ENOUGH, watchDelay: false });
    say('evidence still fresh');
    const fresh = await pairs(bed, { rounds: quick ? 3 : 8, count: JUDGED, apis: APIS });
    const usual = seen.find(({ count, quoteMs }) => count === JUDGED && quoteMs === 70);
    return {
      rows: [
        ...seen.map(underRow),
        freshRow(fresh),
        {
          measure: 'event loop delay of the plugin under these rounds: p99',
          goal: '≤ 20 ms',
          seen: `${figure(delayMs?.p99 ?? Number.NaN)} ms`,
          met: (delayMs?.p99 ?? Number.NaN) <= 20,
        },
      ],
      ratios: {
        'SPIRE with the plugin on fresh evidence / without': meanRatio(fresh),
        'CPU of agent and plugin on fresh evidence / without': cpuRatio(fresh),
        ...(usual && {
          'SPIRE with the plugin, Q = 70 ms / (without + 1.25 Q + 40 ms)': meanOf(usual.pair.own) / goalOf(usual),
        }),
      },
      plots: [plotOf(seen)],
      details: {
        under: seen.map(({ pair: { own, other }, ...at }) => ({
          ...at,
          own: withoutSamples(own),
          other: withoutSamples(other),
        })),
        fresh: { own: withoutSamples(fresh.own), other: withoutSamples(fresh.other) },
      },
    };
  } finally {
    await bed.stopPlugin();
  }
}

function goalOf({ pair, quoteMs }: Seen): number {
  return meanOf(pair.other) + 1.25 * quoteMs + REST_MS;
}

function underRow(seen: Seen): Row {
  const { count, quoteMs, pair } = seen;
  const what = `SPIRE with the plugin, ${count} at once, evidence newer than the request, Q = ${quoteMs} ms: mean`;
  const text = `${figure(meanOf(pair.own))} ms, without ${figure(meanOf(pair.other))}`;
  if (count !== JUDGED) return { measure: what, goal: '', seen: text };
  const goal = goalOf(seen);
  return {
    measure: what,
    goal: `≤ without ${figure(meanOf(pair.other))} + 1.25 Q + ${REST_MS} = ${figure(goal)} ms`,
    seen: text,
    met: meanOf(pair.own) <= goal,
  };
}

function freshRow(pair: Pair): Row {
  return {
    measure: `SPIRE with the plugin, ${JUDGED} at once, evidence still fresh: mean`,
    goal: `≤ ${FRESH_RATIO} × without (${figure(meanOf(pair.other))} ms)`,
    seen: `${figure(meanOf(pair.own))} ms, ${figure(meanRatio(pair))} × (CPU on the node ${figure(cpuRatio(pair))} ×)`,
    met: meanRatio(pair) <= FRESH_RATIO,
  };
}

function plotOf(seen: readonly Seen[]): Plot {
  const points = seen.flatMap(({ count, quoteMs, pair }) => [
    { name: `with the plugin, Q = ${quoteMs} ms`, x: count, y: meanOf(pair.own) },
    ...(quoteMs === 25 ? [{ name: 'without', x: count, y: meanOf(pair.other) }] : []),
  ]);
  return {
    title: 'SPIRE with and without Lacre: mean time to the first X.509-SVID',
    x: 'workloads at once',
    y: 'milliseconds',
    logX: true,
    logY: true,
    points,
  };
}
