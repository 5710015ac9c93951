import { setTimeout as delay } from 'node:timers/promises';
import type { Bed } from './bed.ts';
import type { Row } from './measure.ts';
import { cpuMs } from './process-cpu.ts';
import { FRESH_ENOUGH, FRESHER, type RoundOptions } from './round.ts';
import { figure } from './statistics.ts';

/** What one first X.509-SVID costs while nobody else asks. */
export interface TurnCost {
  /** Median, milliseconds, on evidence still fresh. */
  readonly freshMs: number;
  /** Median, milliseconds, under a quote made after the request. */
  readonly quotedMs: number;
  /** CPU of agent and server together, evidence still fresh, without what they use when nobody asks. */
  readonly cpuMs: number;
  /** Share of one core that agent and server use when nobody asks. */
  readonly idleAgent: number;
  readonly idleServer: number;
}

const IDLE_MS = 3_000;

/** First X.509-SVIDs one after the other, out of one container. */
export async function turnCost(bed: Bed, options: { container: number; turns: number }): Promise<TurnCost> {
  const { agentPid = 0, serverPid = 0 } = bed.node.programs;
  const ask: RoundOptions = { client: 'light', turns: true, same: true, skip: options.container, count: options.turns };
  await bed.round('lacre', ask);
  const before = [await cpuMs(agentPid), await cpuMs(serverPid)];
  const began = performance.now();
  await delay(IDLE_MS);
  const idledMs = performance.now() - began;
  const [idleAgent = 0, idleServer = 0] = [await cpuMs(agentPid), await cpuMs(serverPid)].map(
    (used, index) => (used - (before[index] ?? 0)) / idledMs,
  );
  const fresh = await bed.round('lacre', ask);
  await bed.turn('agent', { underQuote: FRESHER, watchDelay: false });
  const quoted = await bed.round('lacre', { ...ask, count: Math.ceil(options.turns / 3) });
  await bed.turn('agent', { underQuote: FRESH_ENOUGH, watchDelay: false });
  const idleMs = fresh.wallMs * (idleAgent + idleServer);
  return {
    freshMs: fresh.ms.p50,
    quotedMs: quoted.ms.p50,
    cpuMs: (fresh.agentCpuMs + fresh.serverCpuMs - idleMs) / fresh.got,
    idleAgent,
    idleServer,
  };
}

const MOST_GROWTH = 1.2;

/** Time and CPU of the larger beside the smaller; the worse of the two ratios decides. */
export function growthRow(what: string, small: TurnCost, large: TurnCost): Row[] {
  const parts = [
    ['time, evidence still fresh', small.freshMs, large.freshMs],
    ['time, quote of 25 ms after the request', small.quotedMs, large.quotedMs],
    ['CPU, agent and server', small.cpuMs, large.cpuMs],
  ] as const;
  return parts.map(([part, less, more]) => ({
    measure: `${what}: ${part}`,
    goal: `≤ ${MOST_GROWTH} ×`,
    seen: `${figure(more / less)} × (${figure(less)}, ${figure(more)} ms)`,
    met: more / less <= MOST_GROWTH,
  }));
}
