import { LacreError } from '../../lacre-error.ts';

/** SPIRE's selector: a type, and a value that may hold colons. */
export interface Selector {
  readonly type: string;
  readonly value: string;
}

/** What a SPIFFE ID may require, each with its values from the weakest to the strictest; a stricter one fulfils a weaker. */
export const LADDERS = {
  attribution: ['shared', 'exact'],
  host: ['open', 'standard', 'sealed'],
  root: ['software', 'vtpm', 'hardware'],
  coverage: ['exec', 'read'],
  config: ['changed', 'image'],
} as const satisfies Record<string, readonly string[]>;

export type Ladder = keyof typeof LADDERS;

/** Selectors that are only matched, never compared: their first part, and the form of what follows. */
const MATCHED: ReadonlyMap<string, RegExp> = new Map([
  ['image', /^(proven|claimed|sha256:[0-9a-f]{64})$/],
  ['image-name', /./],
  ['entrypoint', /^\/./],
  ['container-name', /./],
  ['container', /^closed$/],
  ['range', /^(fresh|reused)$/],
  ['caller', /^(init|exec)$/],
  ['boot', /^none$/],
  ['kernel', /^sha256:[0-9a-f]{64}$/],
  ['host-reference', /./],
  ['node', /./],
  ['ek', /^sha256:[0-9a-f]{64}$/],
  ['measures', /^reads$/],
]);

const AGE_UNITS: ReadonlyMap<string, number> = new Map([
  ['ms', 1],
  ['s', 1000],
  ['m', 60_000],
  ['h', 3_600_000],
]);

/** Youngest age that can be asked for: less than a quote takes. */
export const MIN_EVIDENCE_AGE_MS = 1000;
export const MAX_EVIDENCE_AGE_MS = 3_600_000;

/** "type:value". Throws appraisal.selector.malformed. */
export function parseSelector(text: string): Selector {
  const at = text.indexOf(':');
  const selector = { type: text.slice(0, at), value: text.slice(at + 1) };
  if (at < 1 || selector.value === '') throw malformed(`${JSON.stringify(text)} is no selector: it must be type:value`);
  checkSelector(selector);
  return selector;
}

/**
 * Throws appraisal.selector.malformed for a selector of type lacre that nothing can ever fulfil, so that a slip of the pen
 * is refused when an entry is made. Other types are as SPIRE takes them.
 */
export function checkSelector({ type, value }: Selector): void {
  if (type !== 'lacre') return;
  const kind = kindOf(value);
  const rest = value.slice(kind.length + 1);
  if (kind === 'evidence-age') {
    parseEvidenceAge(rest);
    return;
  }
  if (value === 'exec:allowed') return;
  const ladder: readonly string[] | undefined = isLadder(kind) ? LADDERS[kind] : undefined;
  if (ladder !== undefined ? ladder.includes(rest) : MATCHED.get(kind)?.test(rest)) return;
  const known =
    ladder === undefined
      ? `one of ${[...Object.keys(LADDERS), ...MATCHED.keys(), 'exec', 'evidence-age'].join(', ')} with its value`
      : ladder.join(', ');
  throw malformed(`lacre:${value} can never be fulfilled; known are ${known}`);
}

/** Milliseconds of "30s", "500ms" is too young, "5m", "1h". Throws appraisal.selector.malformed. */
export function parseEvidenceAge(text: string): number {
  const [, digits, unit] = /^(\d{1,9})(ms|s|m|h)$/.exec(text) ?? [];
  const ageMs = Number(digits) * Number(AGE_UNITS.get(String(unit)));
  if (!(ageMs >= MIN_EVIDENCE_AGE_MS && ageMs <= MAX_EVIDENCE_AGE_MS)) {
    throw malformed(`${JSON.stringify(text)} is no age of evidence from 1s to 1h`);
  }
  return ageMs;
}

/** A value's first part: what it speaks of. */
export function kindOf(value: string): string {
  const at = value.indexOf(':');
  return at < 0 ? value : value.slice(0, at);
}

export function isLadder(kind: string): kind is Ladder {
  return Object.hasOwn(LADDERS, kind);
}

function malformed(sentence: string): LacreError {
  return new LacreError('appraisal.selector.malformed', sentence);
}
