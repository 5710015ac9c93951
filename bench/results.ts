import type { Machine } from './machine.ts';
import type { Outcome, Row } from './measure.ts';

/** One measure, as it ran. */
export interface Ran {
  readonly name: string;
  readonly about: string;
  readonly seconds: number;
  /** Undefined: it failed. */
  readonly outcome?: Outcome;
  readonly failure?: string;
}

/** build/bench/results.json. */
export interface Results {
  readonly at: string;
  readonly version: string;
  readonly quick: boolean;
  readonly machine: Machine;
  readonly measures: readonly Ran[];
}

/** The rows of all measures, each with the command that repeats it. */
export function rowsOf({
  measures,
  quick,
}: Pick<Results, 'measures' | 'quick'>): (Row & { readonly command: string })[] {
  return measures.flatMap(({ name, outcome, failure }) => {
    const command = `npm run bench -- --only ${name}${quick ? ' --quick' : ''}`;
    const failed: Row[] = failure === undefined ? [] : [{ measure: name, goal: '', seen: `not measured: ${failure}` }];
    return [...(outcome?.rows ?? []), ...failed].map((row) => ({ ...row, command }));
  });
}

export function metText({ goal, met }: Row): string {
  if (met === undefined) return goal === '' ? '' : '?';
  return met ? 'yes' : 'NO';
}
