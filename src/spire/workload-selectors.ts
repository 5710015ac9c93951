import { missesOf, type Requirements, requirementsOf } from '../appraisal/selector/requirement.ts';
import { isLadder, LADDERS, type Selector } from '../appraisal/selector/selector.ts';

const OWN = 'lacre:';
const DOCKER = 'docker:';

/**
 * The values that SPIRE gets, each of type `lacre`: Lacre's own without their type, and what Lacre calls docker:… as
 * `docker:…`. unix:… is left to SPIRE's own attestor. SPIRE only compares, so a rung of a ladder stands for all below it.
 */
export function selectorValues(selectors: readonly string[]): string[] {
  const values = new Set<string>();
  for (const selector of selectors) {
    if (selector.startsWith(DOCKER)) values.add(selector);
    else if (selector.startsWith(OWN)) {
      for (const value of RUNGS.get(selector) ?? [selector.slice(OWN.length)]) values.add(value);
    }
  }
  return [...values].sort();
}

/** Of each rung as Lacre has it: it and those below it, as SPIRE gets them. */
const RUNGS: ReadonlyMap<string, readonly string[]> = new Map(
  Object.entries(LADDERS).flatMap(([kind, rungs]) => {
    const values = rungs.map((rung) => `${kind}:${rung}`);
    return values.map((value, at) => [OWN + value, values.slice(0, at + 1)] as const);
  }),
);

/** What the plugin requires of all workloads, read once. */
export class RequiredOfAll {
  readonly #requirements: Requirements;
  /** Selectors that are only looked for. */
  readonly #present: readonly string[];

  constructor(require: readonly Selector[]) {
    this.#requirements = requirementsOf([{ selectors: require }]);
    this.#present = require.map(({ value }) => value).filter((value) => !isCompared(value));
  }

  /**
   * What a trusted workload lacks: a sentence, or undefined. Ladders are compared, and a host of grade open or a caller by
   * exec is accepted only where it is required so; everything else must be there.
   */
  missing(selectors: readonly string[]): string | undefined {
    const own = new Set(selectors);
    const misses = missesOf(this.#requirements, own, 0).map(
      ({ what, required, found }) => `${what} is ${found}, and ${required} is required`,
    );
    const absent = this.#present.filter((value) => !own.has(OWN + value)).map((value) => `${value} is required`);
    const all = [...misses, ...absent];
    return all.length === 0 ? undefined : all.join('; ');
  }
}

function isCompared(value: string): boolean {
  return value === 'exec:allowed' || isLadder(value.slice(0, value.indexOf(':')));
}
