import type { Context, Outcome, Plot, Row } from '../measure.ts';
import { pairs } from '../pairs.ts';
import { FRESH_ENOUGH, FRESHER } from '../round.ts';
import { figure, mean } from '../statistics.ts';
import { USUAL_CHIP_MS } from './first-svid.ts';

export const name = 'spread';
export const about = 'how the time to the first X.509-SVID is spread, from 1 to 500 workloads at once';

const DRAWN_POINTS = 100;
/** SBRC 2021, abstract: mean time to provision an identity, 150 microservices attested in parallel on one node. */
const PAPER = { count: 150, ms: 252 };

export async function run({ quick, bed: bedOf, say }: Context): Promise<Outcome> {
  const counts = quick ? [1, 50, 150] : [1, 10, 50, 150, 300, 500];
  const bed = await bedOf(Math.max(...counts));
  bed.node.proxy.quoteMs = USUAL_CHIP_MS;
  await pairs(bed, { rounds: 1, count: Math.max(...counts) });
  await bed.turn('agent', { underQuote: FRESHER, watchDelay: false });
  const points: Plot['points'][number][] = [];
  const rows: Row[] = [];
  for (const count of counts) {
    say(`${count} at once`);
    const { own, other } = await pairs(bed, { rounds: count <= 10 ? 6 : 3, count });
    const [samples, others] = [own, other].map((rounds) =>
      rounds.flatMap((round) => round.samples).sort((a, b) => a - b),
    );
    points.push(...line(`Lacre, ${count}`, samples ?? []));
    if (count === PAPER.count) points.push(...line(`SPIRE without attestation, ${count}`, others ?? []));
    rows.push({
      measure: `first SVID, ${count} at once, Q = ${USUAL_CHIP_MS} ms, evidence newer than the request: mean`,
      goal: count === PAPER.count ? `the paper's ${PAPER.ms} ms, on its machine` : '',
      seen: `${figure(mean(samples ?? []))} ms (SPIRE without attestation ${figure(mean(others ?? []))})`,
    });
  }
  await bed.turn('agent', { underQuote: FRESH_ENOUGH, watchDelay: false });
  const title = `First X.509-SVID, N at once, under a quote of ${USUAL_CHIP_MS} ms made after the request`;
  return { rows, plots: [{ title, x: 'milliseconds', y: 'workloads served, %', logX: true, points }] };
}

/** Share of the samples that are no larger than each of some of them. */
function line(name: string, samples: readonly number[]) {
  const step = Math.max(1, Math.floor(samples.length / DRAWN_POINTS));
  return samples.flatMap((x, index) =>
    index % step === 0 || index === samples.length - 1 ? [{ name, x, y: (100 * (index + 1)) / samples.length }] : [],
  );
}
