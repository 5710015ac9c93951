import type { Context, Outcome, Plot, Row } from '../measure.ts';
import { cpuRatio, meanOf, meanRatio, type Pair, pairs, withoutSamples } from '../pairs.ts';
import { FRESH_ENOUGH, FRESHER } from '../round.ts';
import { figure } from '../statistics.ts';

export const name = 'spire-plugin';
export const about =
  "first X.509-SVIDs from SPIRE's agent with Lacre's WorkloadAttestor, beside the same SPIRE without it";

const APIS = ['spire-lacre', 'spire'] as const;
const JUDGED = 150;
const LARGE = 500;
const REST_MS = 40;
const FRESH_RATIO = 1.3;

interface Seen {
  /** Containers of the node. */
  readonly node: number;
  readonly count: number;
  readonly quoteMs: number;
  readonly pair: Pair;
}

export async function run({ quick, bed: bedOf, say }: Context): Promise<Outcome> {
  const chips = quick ? [25, 70] : [0, 25, 70, 195];
  const crowds = await onNode(bedOf, {
    say,
    quick,
    wanted: JUDGED,
    counts: quick ? [1, JUDGED] : [1, 50, JUDGED],
    chips,
  });
  // SPIRE compares a caller with every entry that shares a selector: a node with more of them costs both more.
  const large = quick ? undefined : await onNode(bedOf, { say, quick, wanted: LARGE, counts: [JUDGED, LARGE], chips });
  const usual = crowds.under.find(({ count, quoteMs }) => count === JUDGED && quoteMs === 70);
  const all = [crowds, ...(large === undefined ? [] : [large])];
  return {
    rows: [
      ...all.flatMap(({ under, fresh }) => [...under.map(underRow), freshRow(fresh)]),
      delayRow(Math.max(...all.map(({ delayMs }) => delayMs))),
    ],
    ratios: {
      'SPIRE with the plugin on fresh evidence / without': meanRatio(crowds.fresh.pair),
      'CPU of agent and plugin on fresh evidence / without': cpuRatio(crowds.fresh.pair),
      ...(usual && {
        'SPIRE with the plugin, Q = 70 ms / (without + 1.25 Q + 40 ms)': meanOf(usual.pair.own) / goalOf(usual),
      }),
    },
    plots: [plotOf([...crowds.under, ...(large?.under ?? []).filter(({ count }) => count === LARGE)])],
    details: all.map(({ under, fresh }) => ({
      under: under.map(({ pair: { own, other }, ...at }) => ({
        ...at,
        own: withoutSamples(own),
        other: withoutSamples(other),
      })),
      fresh: { own: withoutSamples(fresh.pair.own), other: withoutSamples(fresh.pair.other) },
    })),
  };
}

interface NodePlan extends Pick<Context, 'say' | 'quick'> {
  /** Containers, each with an entry. */
  readonly wanted: number;
  readonly counts: readonly number[];
  readonly chips: readonly number[];
}

interface SeenOnNode {
  readonly under: readonly Seen[];
  readonly fresh: Seen;
  /** Event loop of the plugin, p99 of the rounds under quotes. */
  readonly delayMs: number;
}

async function onNode(bedOf: Context['bed'], { say, quick, wanted, counts, chips }: NodePlan): Promise<SeenOnNode> {
  const bed = await bedOf(wanted);
  // Another measure may have made more.
  const node = bed.node.containers.length;
  bed.node.proxy.quoteMs = 25;
  say(`a SPIRE agent with Lacre's plugin, ${node} containers`);
  await bed.startPlugin();
  try {
    await pairs(bed, { rounds: 2, count: wanted, apis: APIS });
    await bed.turn('plugin', { underQuote: FRESHER, watchDelay: true });
    const under: Seen[] = [];
    for (const quoteMs of chips) {
      bed.node.proxy.quoteMs = quoteMs;
      for (const count of counts) {
        say(`${count} at once of ${node}, quotes of ${quoteMs} ms`);
        const rounds = quick ? 3 : count === JUDGED ? 6 : 3;
        under.push({ node, count, quoteMs, pair: await pairs(bed, { rounds, count, apis: APIS }) });
      }
    }
    bed.node.proxy.quoteMs = 70;
    const { delayMs } = await bed.turn('plugin', { underQuote: FRESH_ENOUGH, watchDelay: false });
    say('evidence still fresh');
    const pair = await pairs(bed, { rounds: quick ? 3 : 8, count: JUDGED, apis: APIS });
    return { under, fresh: { node, count: JUDGED, quoteMs: 70, pair }, delayMs: delayMs?.p99 ?? Number.NaN };
  } finally {
    await bed.stopPlugin();
  }
}

function delayRow(delayMs: number): Row {
  return {
    measure: 'event loop delay of the plugin under these rounds: p99',
    goal: '≤ 20 ms',
    seen: `${figure(delayMs)} ms`,
    met: delayMs <= 20,
  };
}

function goalOf({ pair, quoteMs }: Seen): number {
  return meanOf(pair.other) + 1.25 * quoteMs + REST_MS;
}

function underRow(seen: Seen): Row {
  const { node, count, quoteMs, pair } = seen;
  const what = `SPIRE with the plugin, ${count} at once${ofNode(node)}, evidence newer than the request, Q = ${quoteMs} ms: mean`;
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

function ofNode(containers: number): string {
  return containers > JUDGED ? ` of ${containers} on the node` : '';
}

function freshRow({ node, pair }: Seen): Row {
  return {
    measure: `SPIRE with the plugin, ${JUDGED} at once${ofNode(node)}, evidence still fresh: mean`,
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
