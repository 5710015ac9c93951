import type { Bed } from './bed.ts';

/** One row of the table: what is to be reached, what was seen. */
export interface Row {
  readonly measure: string;
  /** In words; empty: nothing is to be reached, the figure is shown. */
  readonly goal: string;
  readonly seen: string;
  /** Undefined: there is no goal, or it could not be measured (`seen` says why). */
  readonly met?: boolean;
}

/** Points of a plot: one line for each name. */
export interface Plot {
  readonly title: string;
  readonly x: string;
  readonly y: string;
  readonly logX?: boolean;
  readonly logY?: boolean;
  readonly points: readonly { readonly name: string; readonly x: number; readonly y: number }[];
}

/** What a measure found. */
export interface Outcome {
  readonly rows: readonly Row[];
  /** Ratios inside this run, by a name that stays: the regression bench compares them. Lower is better. */
  readonly ratios?: Readonly<Record<string, number>>;
  readonly plots?: readonly Plot[];
  /** Everything else that was seen, for results.json. */
  readonly details?: unknown;
}

/** What measures are given. */
export interface Context {
  /** Fewer rounds, smaller counts. */
  readonly quick: boolean;
  /** Progress, for stderr. */
  say(text: string): void;
  /** The node that measures share, with at least so many containers. */
  bed(containers: number): Promise<Bed>;
}

/** A module of bench/measures. One that leaves the shared node unusable says so by endsBed. */
export interface Measure {
  readonly name: string;
  /** What it measures, in a sentence. */
  readonly about: string;
  readonly endsBed?: boolean;
  /** Runs where it is named only. */
  readonly onRequest?: boolean;
  run(context: Context): Promise<Outcome>;
}
