import { type Bed, FRESH_ENOUGH, FRESHER, type Round } from '../bed.ts';
import type { Context, Outcome, Plot, Row } from '../measure.ts';
import { figure, mean, median } from '../statistics.ts';

export const name = 'first-svid';
export const about =
  'first X.509-SVID, many workloads at once, a go-spiffe process each in a container of its own, beside SPIRE without attestation';

const AT_ONCE = 150;
const CHIPS_MS = [25, 70, 195];
/** Of the three, what a discrete TPM of today takes for an ECC quote: evidence is renewed by it while rounds take none. */
const USUAL_CHIP_MS = 70;

/** Rounds of both systems in turns, so that what else the machine does falls on both. */
interface Pair {
  readonly lacre: readonly Round[];
  readonly spire: readonly Round[];
}

export async function run({ quick, bed: bedOf, say }: Context): Promise<Outcome> {
  const bed = await bedOf(AT_ONCE);
  const rounds = quick ? 3 : 10;
  const under = new Map<number, Pair>();
  await pairs(bed, { rounds: 2, count: AT_ONCE });
  await watch(bed, FRESHER);
  for (const quoteMs of CHIPS_MS) {
    say(`${AT_ONCE} at once, evidence newer than the request, quotes of ${quoteMs} ms: ${rounds} rounds of each`);
    bed.node.proxy.quoteMs = quoteMs;
    under.set(quoteMs, await pairs(bed, { rounds, count: AT_ONCE }));
  }
  bed.node.proxy.quoteMs = USUAL_CHIP_MS;
  const loopUnder = await watch(bed, FRESH_ENOUGH);
  say(`${AT_ONCE} at once, evidence still fresh: ${rounds} rounds of each`);
  const fresh = await pairs(bed, { rounds, count: AT_ONCE });
  const loopFresh = await watch(bed, FRESH_ENOUGH, false);
  const spread = await spreads({ bed, quick, say, under });
  return {
    rows: [
      ...CHIPS_MS.map((quoteMs) => underRow(quoteMs, under.get(quoteMs))),
      freshRow(fresh),
      cpuRow('evidence newer than the request', under.get(USUAL_CHIP_MS)),
      cpuRow('evidence still fresh', fresh),
      loopRow('evidence newer than the request', loopUnder),
      loopRow('evidence still fresh', loopFresh),
    ],
    ratios: {
      'first-svid fresh / SPIRE': ratio(fresh),
      'first-svid under a quote of 25 ms / (SPIRE + 1.25 Q)': excess(25, under.get(25)),
      'agent CPU a first SVID / SPIRE': cpuRatio(fresh),
    },
    plots: [spread],
    details: {
      under: Object.fromEntries([...under].map(([ms, pair]) => [ms, brief(pair)])),
      fresh: brief(fresh),
      loopUnder,
      loopFresh,
    },
  };
}

/** What a request gets from agents that are told so. */
async function watch(bed: Bed, underQuote: boolean, watchDelay = true) {
  const [agent, server] = [
    await bed.turn('agent', { underQuote, watchDelay }),
    await bed.turn('server', { underQuote: false, watchDelay }),
  ];
  return { agent: agent.delayMs, server: server.delayMs };
}

export async function pairs(bed: Bed, options: { rounds: number; count: number }): Promise<Pair> {
  const pair = { lacre: [] as Round[], spire: [] as Round[] };
  for (let round = 0; round < options.rounds; round += 1) {
    const order = round % 2 === 0 ? (['lacre', 'spire'] as const) : (['spire', 'lacre'] as const);
    for (const api of order) pair[api].push(await bed.round(api, { count: options.count, client: 'processes' }));
  }
  return pair;
}

/** All samples of a few rounds at each count: the distribution for the report. */
async function spreads(given: {
  bed: Bed;
  quick: boolean;
  say: (text: string) => void;
  under: ReadonlyMap<number, Pair>;
}): Promise<Plot> {
  const { bed, quick, say } = given;
  const points: { name: string; x: number; y: number }[] = [];
  bed.node.proxy.quoteMs = USUAL_CHIP_MS;
  await bed.turn('agent', { underQuote: FRESHER, watchDelay: false });
  for (const count of quick ? [1, 50, AT_ONCE] : [1, 10, 50, AT_ONCE, 300, 500]) {
    await given.bed.grow(count);
    say(`distribution, ${count} at once`);
    const pair = await pairs(bed, { rounds: count === 1 ? 5 : 2, count });
    const samples = pair.lacre.flatMap((round) => round.samples).sort((a, b) => a - b);
    samples.forEach((ms, index) => {
      const share = (100 * (index + 1)) / samples.length;
      // A hundred points draw any of these lines.
      if (index % Math.ceil(samples.length / 100) === 0 || index === samples.length - 1)
        points.push({ name: `${count} at once`, x: ms, y: share });
    });
  }
  await bed.turn('agent', { underQuote: FRESH_ENOUGH, watchDelay: false });
  return {
    title: `Time to the first X.509-SVID under a quote of ${USUAL_CHIP_MS} ms made after the request`,
    x: 'milliseconds',
    y: 'workloads served, %',
    logX: true,
    points,
  };
}

function meanOf(rounds: readonly Round[]): number {
  return median(rounds.map(({ ms }) => ms.mean));
}

function ratio({ lacre, spire }: Pair): number {
  return meanOf(lacre) / meanOf(spire);
}

function excess(quoteMs: number, pair: Pair | undefined): number {
  return pair === undefined ? Number.NaN : meanOf(pair.lacre) / (meanOf(pair.spire) + 1.25 * quoteMs);
}

function cpuOf(rounds: readonly Round[]): number {
  return mean(rounds.map(({ agentCpuMs, got }) => agentCpuMs / got));
}

function cpuRatio({ lacre, spire }: Pair): number {
  return cpuOf(lacre) / cpuOf(spire);
}

function underRow(quoteMs: number, pair: Pair | undefined): Row {
  if (pair === undefined) throw new Error(`no rounds with quotes of ${quoteMs} ms`);
  const [lacre, spire] = [meanOf(pair.lacre), meanOf(pair.spire)];
  const goal = spire + 1.25 * quoteMs;
  const quotes = median(pair.lacre.map((round) => round.quotes));
  return {
    measure: `first SVID, ${AT_ONCE} at once, evidence newer than the request, Q = ${quoteMs} ms: mean`,
    goal: `≤ SPIRE's ${figure(spire)} + 1.25 Q = ${figure(goal)} ms`,
    seen: `${figure(lacre)} ms, ${quotes} quotes a round`,
    met: lacre <= goal,
  };
}

function freshRow(pair: Pair): Row {
  return {
    measure: `first SVID, ${AT_ONCE} at once, evidence still fresh: mean`,
    goal: `≤ 1.0 × SPIRE's ${figure(meanOf(pair.spire))} ms`,
    seen: `${figure(meanOf(pair.lacre))} ms, ${figure(ratio(pair))} ×`,
    met: ratio(pair) <= 1,
  };
}

function cpuRow(when: string, pair: Pair | undefined): Row {
  if (pair === undefined) throw new Error('no rounds');
  const server = mean(pair.lacre.map(({ serverCpuMs, got }) => serverCpuMs / got));
  return {
    measure: `agent CPU for a first SVID, ${when}`,
    goal: `≤ 1.0 × SPIRE's ${figure(cpuOf(pair.spire))} ms`,
    seen: `${figure(cpuOf(pair.lacre))} ms, ${figure(cpuRatio(pair))} × (server ${figure(server)} ms)`,
    met: cpuRatio(pair) <= 1,
  };
}

function loopRow(when: string, { agent, server }: Awaited<ReturnType<typeof watch>>): Row {
  const [a, s] = [agent?.p99 ?? Number.NaN, server?.p99 ?? Number.NaN];
  return {
    measure: `event loop delay under these rounds, ${when}: p99 of agent, server`,
    goal: '≤ 20 ms',
    seen: `${figure(a)}, ${figure(s)} ms`,
    met: a <= 20 && s <= 20,
  };
}

function brief({ lacre, spire }: Pair) {
  const of = (rounds: readonly Round[]) => rounds.map(({ samples: _, ...round }) => round);
  return { lacre: of(lacre), spire: of(spire) };
}
