import type { Bed } from './bed.ts';
import type { Api, Round } from './round.ts';
import { mean, median } from './statistics.ts';

/** Rounds of two systems in turns, so that what else the machine does falls on both. */
export interface Pair {
  readonly own: readonly Round[];
  readonly other: readonly Round[];
}

export interface PairOptions {
  readonly rounds: number;
  readonly count: number;
  /** By default Lacre, beside SPIRE with its unix attestor. */
  readonly apis?: readonly [own: Api, other: Api];
  readonly client?: 'processes' | 'light';
}

/** Runs them; which system begins changes with every round. */
export async function pairs(bed: Bed, options: PairOptions): Promise<Pair> {
  const { rounds, count, apis: [own, other] = ['lacre', 'spire'], client = 'processes' } = options;
  if (own === 'spire' || other === 'spire') await bed.spire();
  const pair = { own: [] as Round[], other: [] as Round[] };
  for (let round = 0; round < rounds; round += 1) {
    for (const which of round % 2 === 0 ? (['own', 'other'] as const) : (['other', 'own'] as const))
      pair[which].push(await bed.round(which === 'own' ? own : other, { count, client }));
  }
  return pair;
}

/** Median over the rounds of the mean of each, in milliseconds. */
export function meanOf(rounds: readonly Round[]): number {
  return median(rounds.map(({ ms }) => ms.mean));
}

export function meanRatio({ own, other }: Pair): number {
  return meanOf(own) / meanOf(other);
}

/** CPU of what serves the node's workloads, in milliseconds for one SVID. */
export function agentCpuOf(rounds: readonly Round[]): number {
  return mean(rounds.map(({ agentCpuMs, got }) => agentCpuMs / got));
}

export function serverCpuOf(rounds: readonly Round[]): number {
  return mean(rounds.map(({ serverCpuMs, got }) => serverCpuMs / got));
}

export function cpuRatio({ own, other }: Pair): number {
  return agentCpuOf(own) / agentCpuOf(other);
}

/** For results.json: without the samples. */
export function withoutSamples(rounds: readonly Round[]): unknown {
  return rounds.map(({ samples: _, ...round }) => round);
}
