import type { Mutant } from './mutant.ts';

/** Asked at every mutant's place: true where this mutant is the one to run. Set by the worker. */
export const SWITCH = '__lacreMutant';

/** One source with all mutants in it, each behind a question to `SWITCH`. */
export function instrument(javascript: string, mutants: readonly Mutant[]): string {
  const sites = new Map<string, Mutant[]>();
  for (const mutant of mutants) {
    const name = `${mutant.start}-${mutant.end}-${mutant.place}`;
    sites.set(name, [...(sites.get(name) ?? []), mutant]);
  }
  const ordered = [...sites.values()].toSorted(
    ([a], [b]) => (a?.start ?? 0) - (b?.start ?? 0) || (b?.end ?? 0) - (a?.end ?? 0) || rank(a) - rank(b),
  );
  let next = 0;
  const emit = (start: number, end: number): string => {
    let text = '';
    let at = start;
    for (let site = ordered[next]; site?.[0] !== undefined && site[0].end <= end; site = ordered[next]) {
      const [first] = site;
      next++;
      text += javascript.slice(at, first.start) + wrap(site, emit(first.start, first.end));
      at = first.end;
    }
    return text + javascript.slice(at, end);
  };
  return emit(0, javascript.length);
}

/** A statement or a body goes around an expression of the same extent. */
function rank(mutant: Mutant | undefined): number {
  return mutant?.place === 'expression' ? 1 : 0;
}

function wrap(site: readonly Mutant[], inner: string): string {
  const [first] = site;
  if (first?.place === 'statement') return `{if(!${SWITCH}(${first.id})){${inner}}}`;
  if (first?.place === 'body') return `{if(${SWITCH}(${first.id}))return;${inner.slice(1)}`;
  const choices = site.map((mutant) => `${SWITCH}(${mutant.id})?(${mutant.replacement}):`);
  return `(${choices.join('')}(${inner}))`;
}
