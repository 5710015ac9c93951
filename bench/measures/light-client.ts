import type { Context, Outcome, Row } from '../measure.ts';
import { meanOf, type Pair, pairs, withoutSamples } from '../pairs.ts';
import { FRESH_ENOUGH, FRESHER } from '../round.ts';
import { figure } from '../statistics.ts';
import { AT_ONCE, CHIPS_MS, delayRow } from './first-svid.ts';

export const name = 'light-client';
export const about =
  'the same with one light client: 150 connections out of 150 containers, so that clients cost next to nothing';

const REST_MS = 40;

export async function run({ quick, bed: bedOf, say }: Context): Promise<Outcome> {
  const bed = await bedOf(AT_ONCE);
  const rounds = quick ? 4 : 12;
  await pairs(bed, { rounds: 2, count: AT_ONCE, client: 'light' });
  await bed.watch(FRESHER);
  const under: [number, Pair][] = [];
  for (const quoteMs of CHIPS_MS) {
    say(`one light client, quotes of ${quoteMs} ms: ${rounds} rounds of each`);
    bed.node.proxy.quoteMs = quoteMs;
    under.push([quoteMs, await pairs(bed, { rounds, count: AT_ONCE, client: 'light' })]);
  }
  const delays = await bed.watch(FRESH_ENOUGH);
  await bed.unwatch();
  const rows = under.map(([quoteMs, { own, other }]): Row => {
    const goal = 1.25 * quoteMs + REST_MS;
    return {
      measure: `the same with one light client, Q = ${quoteMs} ms: mean`,
      goal: `≤ 1.25 Q + ${REST_MS} = ${figure(goal)} ms`,
      seen: `${figure(meanOf(own))} ms (SPIRE without attestation ${figure(meanOf(other))})`,
      met: meanOf(own) <= goal,
    };
  });
  const [, [, usual] = under[0] ?? []] = under;
  return {
    rows: [...rows, delayRow('light client', delays)],
    ratios:
      usual === undefined
        ? {}
        : { 'light client, Q = 70 ms / (1.25 Q + 40 ms)': meanOf(usual.own) / (1.25 * 70 + REST_MS) },
    details: Object.fromEntries(
      under.map(([ms, { own, other }]) => [ms, { own: withoutSamples(own), other: withoutSamples(other) }]),
    ),
  };
}
