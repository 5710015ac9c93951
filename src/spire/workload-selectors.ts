import { missesOf, requirementsOf } from '../appraisal/selector/requirement.ts';
import { isLadder, LADDERS, type Selector } from '../appraisal/selector/selector.ts';

const OWN = 'lacre:';
const DOCKER = 'docker:';

/**
 * The values that SPIRE gets, each of type `lacre`: Lacre's own without their type, and what Lacre calls docker:… as
 * `docker:…`. unix:… is left to SPIRE's own attestor. SPIRE only compares, so a rung of a ladder stands for all below it.
 */
export function selectorValues(selectors: readonly string[]): string[] {
  const values = selectors.flatMap((selector) => {
    if (selector.startsWith(OWN)) return withLowerRungs(selector.slice(OWN.length));
    return selector.startsWith(DOCKER) ? [selector] : [];
  });
  return [...new Set(values)].sort();
}

function withLowerRungs(value: string): string[] {
  const colon = value.indexOf(':');
  const kind = value.slice(0, colon);
  if (!isLadder(kind)) return [value];
  const rungs: readonly string[] = LADDERS[kind];
  const at = rungs.indexOf(value.slice(colon + 1));
  return at < 0 ? [value] : rungs.slice(0, at + 1).map((rung) => `${kind}:${rung}`);
}

/**
 * What a trusted workload lacks of what the plugin requires of all: a sentence, or undefined. Ladders are compared, and
 * a host of grade open or a caller by exec is accepted only where `require` says so; everything else must be there.
 */
export function missingOf(require: readonly Selector[], selectors: readonly string[]): string | undefined {
  const own = new Set(selectors);
  const misses = missesOf(requirementsOf([{ selectors: require }]), own, 0).map(
    ({ what, required, found }) => `${what} is ${found}, and ${required} is required`,
  );
  const absent = require
    .filter(({ value }) => !isCompared(value) && !own.has(OWN + value))
    .map(({ value }) => `${value} is required`);
  const all = [...misses, ...absent];
  return all.length === 0 ? undefined : all.join('; ');
}

function isCompared(value: string): boolean {
  return value === 'exec:allowed' || isLadder(value.slice(0, value.indexOf(':')));
}
