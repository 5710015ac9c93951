import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { DEFAULT_EVIDENCE_AGE_MS, isRequirement, missesOf, requirementsOf } from './requirement.ts';
import { LADDERS, type Ladder, type Selector } from './selector.ts';

interface Entry {
  readonly selectors: readonly Selector[];
}

const selectorOf = (text: string): Selector => {
  const at = text.indexOf(':');
  return { type: text.slice(0, at), value: text.slice(at + 1) };
};
const entry = (texts: readonly string[]): Entry => ({ selectors: texts.map(selectorOf) });
/** What a workload has that fulfils every default. */
const USUAL = [
  'lacre:attribution:shared',
  'lacre:host:standard',
  'lacre:root:software',
  'lacre:coverage:exec',
  'lacre:config:changed',
];

test('a requirement is of type lacre, and of a ladder, of exec or of an age; everything else is matched', () => {
  for (const text of ['lacre:host:open', 'lacre:host', 'lacre:config:', 'lacre:exec:allowed', 'lacre:evidence-age:5s'])
    assert.equal(isRequirement(selectorOf(text)), true, text);
  for (const text of [
    `lacre:image:sha256:${'0'.repeat(64)}`,
    'lacre:hosts',
    'lacre:exec:denied',
    'lacre:caller:exec',
    'lacre:evidence-age',
    'docker:host:sealed',
    'docker:exec:allowed',
    'unix:evidence-age:5s',
  ])
    assert.equal(isRequirement(selectorOf(text)), false, text);
});

test('what another type has of the form of a requirement requires nothing and allows nothing', () => {
  const { rungs, maxEvidenceAgeMs, execAllowed } = requirementsOf([
    entry(['docker:host:sealed', 'docker:exec:allowed', 'docker:evidence-age:1h']),
  ]);
  assert.deepEqual([rungs.get('host'), maxEvidenceAgeMs, execAllowed], ['standard', 30_000, false]);
});

test('an entry that requires other things, and no age, asks for 30 s', () => {
  assert.equal(DEFAULT_EVIDENCE_AGE_MS, 30_000);
  const entries = [entry(['lacre:evidence-age:2m']), entry(['lacre:host:open'])];
  assert.equal(requirementsOf(entries).maxEvidenceAgeMs, 30_000);
  assert.equal(requirementsOf(entries.slice(0, 1)).maxEvidenceAgeMs, 120_000);
});

test('a miss says what is required, and what was found', () => {
  const misses = (required: string[], own: string[], ageMs = 0) =>
    missesOf(requirementsOf([entry(required)]), new Set(own), ageMs);
  assert.deepEqual(misses([], USUAL), []);
  const ofRoot = USUAL.filter((text) => !text.startsWith('lacre:root:'));
  for (const [required, own, miss] of [
    [['lacre:host:sealed'], USUAL, { what: 'host', required: 'sealed', found: 'standard' }],
    [['lacre:root:vtpm'], ofRoot, { what: 'root', required: 'vtpm', found: 'nothing' }],
    [['lacre:config:x'], USUAL, { what: 'config', required: 'a value that does not exist', found: 'changed' }],
    [[], [...USUAL, 'lacre:caller:exec'], { what: 'exec', required: 'allowed', found: 'a caller started by exec' }],
  ] as const)
    assert.deepEqual(misses([...required], [...own]), [miss]);
  const age = { what: 'evidence-age', required: '5s', found: '6s' };
  assert.deepEqual(misses(['lacre:evidence-age:5s'], USUAL, 5001), [age]);
  assert.deepEqual(misses(['lacre:evidence-age:5s'], USUAL, 6000), [age]);
  assert.deepEqual(misses(['lacre:evidence-age:1500ms'], USUAL, 6001), [{ ...age, required: '1.5s', found: '7s' }]);
});

test('an ID without entries requires the defaults, of 30 s, and no exec', () => {
  const { rungs, maxEvidenceAgeMs, execAllowed } = requirementsOf([]);
  assert.deepEqual(Object.fromEntries(rungs), {
    attribution: 'shared',
    host: 'standard',
    root: 'software',
    coverage: 'exec',
    config: 'changed',
  });
  assert.deepEqual([maxEvidenceAgeMs, execAllowed], [30_000, false]);
});

test('adding an entry never weakens what an ID requires', () => {
  const kinds = Object.entries(LADDERS).flatMap(([kind, rungs]) => rungs.map((rung) => `lacre:${kind}:${rung}`));
  const own = fc.subarray([
    ...kinds,
    'lacre:exec:allowed',
    'lacre:evidence-age:5s',
    'lacre:evidence-age:1m',
    'lacre:host:x',
  ]);
  fc.assert(
    fc.property(
      fc.array(own, { minLength: 1, maxLength: 4 }),
      own,
      fc.subarray([...kinds, 'lacre:caller:exec']),
      fc.nat(70_000),
      (entries, more, selectors, ageMs) => {
        const all = entries.map(entry);
        const misses = (list: Entry[]) =>
          new Set(missesOf(requirementsOf(list), new Set(selectors), ageMs).map(({ what }) => what));
        const [before, after] = [misses(all), misses([...all, entry(more)])];
        for (const what of before) assert.ok(after.has(what), what);
      },
    ),
  );
});

test('every rung fulfils itself and those below it, and none above', () => {
  for (const [kind, rungs] of Object.entries(LADDERS) as [Ladder, readonly string[]][]) {
    const others = Object.entries(LADDERS)
      .filter(([other]) => other !== kind)
      .map(([other, list]) => `lacre:${other}:${list.at(-1)}`);
    for (const [i, required] of rungs.entries()) {
      for (const [j, found] of rungs.entries()) {
        const misses = missesOf(
          requirementsOf([entry([`lacre:${kind}:${required}`])]),
          new Set([...others, `lacre:${kind}:${found}`]),
          0,
        );
        assert.equal(misses.length === 0, j >= i, `${kind}: ${found} for ${required}`);
      }
    }
  }
});
