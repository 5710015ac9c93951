import { setTimeout as delay } from 'node:timers/promises';
import { sha256 } from '../../src/bytes/sha256.ts';
import type { Bed } from '../bed.ts';
import type { HeldStreams } from '../held-streams.ts';
import type { Context, Outcome } from '../measure.ts';
import { figure, quantile } from '../statistics.ts';

export const name = 'drift';
export const about = "a file that is not the image's is executed in a container: until the workload's stream is ended";
/** Every container has drifted by then. */
export const endsBed = true;

const MOST_MS = 1000;
const TIMEOUT_MS = 10_000;
/** Between two drifts, at random: the agent looks at the list every 250 ms. */
const [LEAST_GAP_MS, MOST_GAP_MS] = [40, 140];

export async function run({ quick, bed: bedOf, say }: Context): Promise<Outcome> {
  const count = quick ? 150 : 500;
  const bed = await bedOf(count);
  bed.node.proxy.quoteMs = 70;
  const streams = await bed.hold(count);
  await bed.watch(false);
  say(`${count} containers drift, one after the other`);
  const times: number[] = [];
  const waiting: Promise<void>[] = [];
  for (let number = 0; number < count; number += 1) {
    waiting.push(driftOf(bed, streams, number).then((ms) => void times.push(ms)));
    await delay(LEAST_GAP_MS + Math.random() * (MOST_GAP_MS - LEAST_GAP_MS));
  }
  await Promise.all(waiting);
  const delays = await bed.unwatch();
  await streams.close();
  const [p50, p99, max] = [quantile(times, 0.5), quantile(times, 0.99), Math.max(...times)];
  const sorted = [...times].sort((a, b) => a - b);
  const points = sorted.map((x, index) => ({ name: `${count} drifts`, x, y: (100 * (index + 1)) / count }));
  return {
    rows: [
      {
        measure: `drift → withdrawn, ${count} drifts, one container each, ${count} open streams: p99`,
        goal: `≤ ${MOST_MS} ms`,
        seen: `${figure(p99)} ms (p50 ${figure(p50)}, longest ${figure(max)})`,
        met: p99 <= MOST_MS,
      },
    ],
    plots: [
      { title: 'From the kernel’s entry to the end of the stream', x: 'milliseconds', y: 'withdrawn, %', points },
    ],
    details: { times: sorted, delays },
  };
}

/** Milliseconds from the entry's being in the list to the end of the container's stream, as its client sees it. */
async function driftOf(bed: Bed, streams: HeldStreams, number: number): Promise<number> {
  const uid = bed.node.containers[number]?.uidBase ?? 0;
  const rogue = { path: '/tmp/rogue', sha256: sha256(new Uint8Array(Buffer.from(`rogue ${number}`))) };
  const began = performance.timeOrigin + performance.now();
  await bed.node.kernel.measureContainer(rogue, { uid });
  for (;;) {
    const end = streams.endOf(number);
    if (end !== undefined) return end.unixMs - began;
    if (performance.timeOrigin + performance.now() - began > TIMEOUT_MS)
      throw new Error(`container ${number + 1} was not withdrawn within ${TIMEOUT_MS} ms`);
    await delay(5);
  }
}
