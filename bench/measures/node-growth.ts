import { setTimeout as delay } from 'node:timers/promises';
import { Bed } from '../bed.ts';
import type { Context, Outcome, Row } from '../measure.ts';
import { growthRow, type TurnCost, turnCost } from '../turn-cost.ts';

export const name = 'node-growth';
export const about = 'what the 1,000th workload of a node costs beside the 10th: time, and CPU of agent and server';

const SETTLE_MS = 3_000;

/** A node of its own: the shared one has more containers than the first of these. */
export async function run({ quick, say }: Context): Promise<Outcome> {
  const sizes = quick ? [10, 100] : [10, 100, 1000];
  await using bed = await Bed.create(say);
  bed.node.proxy.quoteMs = 25;
  const costs = new Map<number, TurnCost>();
  for (const size of sizes) {
    await bed.grow(size);
    const others = await bed.hold(size - 1);
    await delay(SETTLE_MS);
    say(`workload ${size} of the node, ${size - 1} beside it with open streams`);
    costs.set(size, await turnCost(bed, { container: size - 1, turns: quick ? 60 : 150 }));
    await others.close();
  }
  const [first, last] = [sizes[0] ?? 0, sizes.at(-1) ?? 0];
  const [small, large] = [costs.get(first), costs.get(last)];
  if (small === undefined || large === undefined) throw new Error('nothing was measured');
  const rows: Row[] = growthRow(`workload ${last} of a node beside workload ${first}`, small, large);
  return {
    rows,
    ratios: { [`CPU for workload ${last} / workload ${first}`]: large.cpuMs / small.cpuMs },
    plots: [
      {
        title: "One more workload's first X.509-SVID on a node",
        x: 'workloads on the node',
        y: 'milliseconds',
        logX: true,
        points: [...costs].flatMap(([x, cost]) => [
          { name: 'time, evidence still fresh', x, y: cost.freshMs },
          { name: 'time, quote of 25 ms', x, y: cost.quotedMs },
          { name: 'CPU, agent and server', x, y: cost.cpuMs },
        ]),
      },
    ],
    details: Object.fromEntries(costs),
  };
}
