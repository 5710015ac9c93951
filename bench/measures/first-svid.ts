import type { Delays } from '../bed.ts';
import type { Context, Outcome, Row } from '../measure.ts';
import { agentCpuOf, cpuRatio, meanOf, meanRatio, type Pair, pairs, serverCpuOf, withoutSamples } from '../pairs.ts';
import { FRESH_ENOUGH, FRESHER } from '../round.ts';
import { figure, median } from '../statistics.ts';

export const name = 'first-svid';
export const about =
  'first X.509-SVID, 150 workloads at once, a go-spiffe process each in a container of its own, beside SPIRE without attestation';

export const AT_ONCE = 150;
/** TPM2_Quote of a fast firmware TPM, a discrete one of today, and a slow one, in milliseconds. */
export const CHIPS_MS = [25, 70, 195];
export const USUAL_CHIP_MS = 70;
const MOST_DELAY_MS = 20;

export async function run({ quick, bed: bedOf, say }: Context): Promise<Outcome> {
  const bed = await bedOf(AT_ONCE);
  const rounds = quick ? 3 : 10;
  await pairs(bed, { rounds: 2, count: AT_ONCE });
  const under = new Map<number, Pair>();
  await bed.watch(FRESHER);
  for (const quoteMs of CHIPS_MS) {
    say(`evidence newer than the request, quotes of ${quoteMs} ms: ${rounds} rounds of each`);
    bed.node.proxy.quoteMs = quoteMs;
    under.set(quoteMs, await pairs(bed, { rounds, count: AT_ONCE }));
  }
  bed.node.proxy.quoteMs = USUAL_CHIP_MS;
  const delaysUnder = await bed.watch(FRESH_ENOUGH);
  say(`evidence still fresh: ${rounds} rounds of each`);
  const fresh = await pairs(bed, { rounds, count: AT_ONCE });
  const delaysFresh = await bed.unwatch();
  const usual = under.get(USUAL_CHIP_MS) ?? fresh;
  const all = [...under].map(([ms, { own, other }]) => [
    ms,
    { own: withoutSamples(own), other: withoutSamples(other) },
  ]);
  return {
    rows: [
      ...[...under].map(([quoteMs, pair]) => underRow(quoteMs, pair)),
      freshRow(fresh),
      cpuRow('evidence newer than the request', usual),
      cpuRow('evidence still fresh', fresh),
      delayRow('first SVIDs, evidence newer', delaysUnder),
      delayRow('first SVIDs, evidence still fresh', delaysFresh),
    ],
    ratios: {
      'first SVID on fresh evidence / SPIRE': meanRatio(fresh),
      'first SVID, Q = 70 ms / (SPIRE + 1.25 Q)': meanOf(usual.own) / (meanOf(usual.other) + 1.25 * USUAL_CHIP_MS),
      'agent CPU a first SVID on fresh evidence / SPIRE': cpuRatio(fresh),
      'agent CPU a first SVID under a quote / SPIRE': cpuRatio(usual),
    },
    details: {
      under: Object.fromEntries(all),
      fresh: { own: withoutSamples(fresh.own), other: withoutSamples(fresh.other) },
      delaysUnder,
      delaysFresh,
    },
  };
}

function underRow(quoteMs: number, { own, other }: Pair): Row {
  const goal = meanOf(other) + 1.25 * quoteMs;
  const quotes = median(own.map((round) => round.quotes));
  return {
    measure: `first SVID, ${AT_ONCE} at once, evidence newer than the request, Q = ${quoteMs} ms: mean`,
    goal: `≤ SPIRE's ${figure(meanOf(other))} + 1.25 Q = ${figure(goal)} ms`,
    seen: `${figure(meanOf(own))} ms, ${quotes} quotes a round`,
    met: meanOf(own) <= goal,
  };
}

function freshRow(pair: Pair): Row {
  return {
    measure: `first SVID, ${AT_ONCE} at once, evidence still fresh: mean`,
    goal: `≤ 1.0 × SPIRE's ${figure(meanOf(pair.other))} ms`,
    seen: `${figure(meanOf(pair.own))} ms, ${figure(meanRatio(pair))} ×`,
    met: meanRatio(pair) <= 1,
  };
}

function cpuRow(when: string, pair: Pair): Row {
  return {
    measure: `agent CPU for a first SVID, ${when}`,
    goal: `≤ 1.0 × SPIRE's ${figure(agentCpuOf(pair.other))} ms`,
    seen: `${figure(agentCpuOf(pair.own))} ms, ${figure(cpuRatio(pair))} × (server ${figure(serverCpuOf(pair.own))} ms)`,
    met: cpuRatio(pair) <= 1,
  };
}

export function delayRow(load: string, { agent, server }: Delays): Row {
  return {
    measure: `event loop delay, ${load}: p99 of agent, server`,
    goal: `≤ ${MOST_DELAY_MS} ms`,
    seen: `${figure(agent.p99)}, ${figure(server.p99)} ms (longest ${figure(agent.max)}, ${figure(server.max)})`,
    met: agent.p99 <= MOST_DELAY_MS && server.p99 <= MOST_DELAY_MS,
  };
}
