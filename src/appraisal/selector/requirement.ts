import { isLadder, kindOf, LADDERS, type Ladder, parseEvidenceAge, type Selector } from './selector.ts';

/** What a SPIFFE ID requires of whoever bears it. */
export interface Requirements {
  /** For each ladder the strictest rung that an entry asks for, or the default; undefined: no workload fulfils it. */
  readonly rungs: ReadonlyMap<Ladder, string | undefined>;
  readonly maxEvidenceAgeMs: number;
  /** Callers that were started by exec are served too. */
  readonly execAllowed: boolean;
}

export const DEFAULT_EVIDENCE_AGE_MS = 30_000;
/** Where no entry says: a host of grade open is never accepted unasked. */
const DEFAULT_RUNGS: Readonly<Record<Ladder, string>> = {
  attribution: 'shared',
  host: 'standard',
  root: 'software',
  coverage: 'exec',
  config: 'changed',
};

/** A requirement that a workload misses. */
export interface Miss {
  readonly what: Ladder | 'exec' | 'evidence-age';
  readonly required: string;
  readonly found: string;
}

/** Whether a selector states a requirement, which is compared, rather than an alternative, which is matched. */
export function isRequirement({ type, value }: Selector): boolean {
  return type === 'lacre' && (value === 'exec:allowed' || value.startsWith('evidence-age:') || isLadder(kindOf(value)));
}

/**
 * The strictest of what all entries of one SPIFFE ID ask (DESIGN section 7): each holds for all of them, so that no entry
 * opens a way around another. An entry that says nothing of a host asks for `standard`.
 */
export function requirementsOf(entries: readonly { readonly selectors: readonly Selector[] }[]): Requirements {
  const asked = entries.map(({ selectors }) => selectors.filter(isRequirement).map(({ value }) => value));
  const rungs = (Object.keys(LADDERS) as Ladder[]).map((ladder) => {
    const values = asked.flatMap((own) => {
      const stated = own.filter((value) => kindOf(value) === ladder).map((value) => value.slice(ladder.length + 1));
      return stated.length > 0 ? stated : [DEFAULT_RUNGS[ladder]];
    });
    return [ladder, strictest(ladder, values)] as const;
  });
  const ages = asked
    .flat()
    .filter((value) => value.startsWith('evidence-age:'))
    .map(ageOf);
  const unstated = asked.some((own) => !own.some((value) => value.startsWith('evidence-age:')));
  return {
    rungs: new Map(rungs),
    maxEvidenceAgeMs: Math.min(...ages, ...(unstated || ages.length === 0 ? [DEFAULT_EVIDENCE_AGE_MS] : [])),
    execAllowed: entries.length > 0 && asked.every((own) => own.includes('exec:allowed')),
  };
}

/** For each ladder its rungs as selectors, from the weakest to the strictest. */
const RUNG_SELECTORS: Readonly<Record<Ladder, readonly string[]>> = {
  attribution: selectorsOf('attribution'),
  host: selectorsOf('host'),
  root: selectorsOf('root'),
  coverage: selectorsOf('coverage'),
  config: selectorsOf('config'),
};

/** What a workload with these selectors ("type:value") misses. */
export function missesOf(requirements: Requirements, selectors: ReadonlySet<string>, evidenceAgeMs: number): Miss[] {
  const misses: Miss[] = [];
  for (const [what, required] of requirements.rungs) {
    const ladder: readonly string[] = LADDERS[what];
    const found = RUNG_SELECTORS[what].findLastIndex((rung) => selectors.has(rung));
    if (required !== undefined && found >= ladder.indexOf(required)) continue;
    misses.push({ what, required: required ?? 'a value that does not exist', found: ladder[found] ?? 'nothing' });
  }
  if (!requirements.execAllowed && selectors.has('lacre:caller:exec'))
    misses.push({ what: 'exec', required: 'allowed', found: 'a caller started by exec' });
  if (!(evidenceAgeMs <= requirements.maxEvidenceAgeMs)) {
    misses.push({
      what: 'evidence-age',
      required: `${requirements.maxEvidenceAgeMs / 1000}s`,
      found: `${Math.ceil(evidenceAgeMs / 1000)}s`,
    });
  }
  return misses;
}

function selectorsOf(ladder: Ladder): string[] {
  return LADDERS[ladder].map((rung) => `lacre:${ladder}:${rung}`);
}

function strictest(ladder: Ladder, values: readonly string[]): string | undefined {
  const rungs: readonly string[] = LADDERS[ladder];
  if (values.some((value) => !rungs.includes(value))) return undefined;
  return rungs[Math.max(...values.map((value) => rungs.indexOf(value)))] ?? DEFAULT_RUNGS[ladder];
}

/** An age that cannot be read is fulfilled by nothing. */
function ageOf(value: string): number {
  try {
    return parseEvidenceAge(value.slice('evidence-age:'.length));
  } catch {
    return -1;
  }
}
