import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { fatalFinding, toldFinding } from '../finding.ts';
import { concludeVerdict, refuseVerdict, type Verdict } from '../verdict.ts';
import { EntryIndex, type MatchableEntry, nodeSelectors } from './match-entries.ts';
import { DEFAULT_EVIDENCE_AGE_MS, requirementsOf } from './requirement.ts';

const NOW = new Date('2026-11-23T20:00:00Z');
const TD = 'spiffe://lab.example';
const SERVER = `${TD}/spire/server`;
const NODE = { spiffeId: `${TD}/spire/agent/lacre_tpm/00`, selectors: ['lacre:node:n1', 'lacre:root:software'] };
const IMAGE = `lacre:image:sha256:${'1'.repeat(64)}`;
const OWN = [
  IMAGE,
  'lacre:attribution:exact',
  'lacre:config:changed',
  'lacre:coverage:exec',
  'lacre:host:open',
  'lacre:host:standard',
  'lacre:root:software',
  'lacre:caller:init',
  'docker:label:tier:web',
  'unix:uid:0',
];

const trusted = (selectors: string[] = OWN): Verdict =>
  concludeVerdict('c', [toldFinding('container.open', 'c', 'x')], selectors, NOW);
const entry = (id: string, selectors: string[], more: Partial<MatchableEntry> = {}): MatchableEntry => {
  const parsed = selectors.map((text) => ({
    type: text.slice(0, text.indexOf(':')),
    value: text.slice(text.indexOf(':') + 1),
  }));
  return { id, spiffeId: `${TD}/${id}`, parentId: NODE.spiffeId, selectors: parsed, ...more };
};
const match = (
  entries: MatchableEntry[],
  verdict = trusted(),
  ageMs = 0,
  node: { spiffeId: string; selectors: string[] } = NODE,
) => {
  const { matches, findings } = new EntryIndex(entries, SERVER).match(verdict, node, ageMs);
  return {
    ids: matches.map(({ entry: { id } }) => id),
    codes: findings.map(({ code, fatal }) => (fatal ? `! ${code}` : code)),
    findings,
  };
};

test('an entry is the workload’s where all of its selectors are', () => {
  const entries = [
    entry('a', [IMAGE]),
    entry('b', [IMAGE, 'docker:label:tier:web', 'unix:uid:0']),
    entry('c', [IMAGE, 'unix:uid:1']),
    entry('d', ['docker:label:tier']),
    entry('e', []),
  ];
  assert.deepEqual(match(entries).ids, ['a', 'b']);
  assert.deepEqual(match([entry('c', ['unix:uid:1'])]).codes, ['! appraisal.entry.missing']);
  assert.deepEqual(match([]).codes, ['! appraisal.entry.missing']);
});

test('all of an entry’s selectors are asked, however rare one of them is among the entries', () => {
  const own = ['a:1', 'a:2', 'a:3'];
  const some = fc.subarray([...own, 'b:1', 'b:2', 'b:3'], { minLength: 1 });
  fc.assert(
    fc.property(fc.array(some, { minLength: 1, maxLength: 8 }), (lists) => {
      const entries = lists.map((list, index) => entry(`e${index}`, list));
      const fit = lists.flatMap((list, index) => (list.every((text) => own.includes(text)) ? [`e${index}`] : []));
      assert.deepEqual(match(entries, trusted([...OWN, ...own])).ids, fit);
    }),
  );
});

test('an entry that only requires is every workload’s that fulfils it', () => {
  const entries = [
    entry('a', [IMAGE]),
    entry('b', ['lacre:host:standard']),
    entry('c', ['lacre:attribution:exact', 'unix:uid:0']),
  ];
  assert.deepEqual(match(entries).ids, ['a', 'b', 'c'], 'in their order');
  assert.deepEqual(match([entry('b', ['lacre:host:sealed'])]).codes, ['! appraisal.requirement.unmet']);
});

test('another image is no requirement that is missed: its entry is not the workload’s at all', () => {
  const other = entry('a', [`lacre:image:sha256:${'2'.repeat(64)}`, 'lacre:host:open']);
  assert.deepEqual(match([other]).codes, ['! appraisal.entry.missing']);
  assert.deepEqual(match([other, entry('b', [IMAGE])]).ids, ['b']);
});

test('nothing matches a verdict that is not trusted', () => {
  const refused = refuseVerdict('c', [fatalFinding('appraisal.image.unknown', 'c', 'x')], NOW);
  assert.deepEqual(match([entry('a', [IMAGE])], refused), { ids: [], codes: [], findings: [] });
});

test('parents: this node, its aliases, and what they delegate to; no other node', () => {
  const pool = `${TD}/pool`;
  const alias = entry('pool', ['lacre:node:n1'], { parentId: SERVER });
  const own = [alias, entry('a', [IMAGE], { parentId: pool }), entry('b', [IMAGE], { parentId: `${TD}/a` })];
  assert.deepEqual(match(own).ids, ['a', 'b']);
  assert.deepEqual(match(own, trusted(), 0, { ...NODE, selectors: ['lacre:node:n2'] }).codes, [
    '! appraisal.entry.missing',
  ]);
  assert.deepEqual(match([entry('a', [IMAGE], { parentId: `${NODE.spiffeId}0` })]).ids, []);
  assert.deepEqual(
    match([entry('a', [IMAGE], { parentId: SERVER })]).ids,
    [],
    'an entry below the server is for nodes',
  );
  const circle = [
    entry('x', [IMAGE], { spiffeId: NODE.spiffeId }),
    entry('y', [IMAGE], { parentId: `${TD}/x`, spiffeId: `${TD}/x` }),
  ];
  assert.deepEqual(match(circle).ids, ['x']);
  assert.deepEqual(
    match([entry('z', [], { parentId: SERVER, spiffeId: pool }), entry('a', [IMAGE], { parentId: pool })]).ids,
    [],
    'an alias without selectors is nobody’s',
  );
  const other = entry('pool', ['lacre:node:n1', 'lacre:root:hardware'], { parentId: SERVER });
  assert.deepEqual(match([other, entry('a', [IMAGE], { parentId: pool })]).ids, [], 'an alias by all of its selectors');
  assert.deepEqual(
    match([entry('x', [IMAGE], { spiffeId: SERVER }), entry('y', [IMAGE], { parentId: SERVER })]).ids,
    ['x'],
    'no way leads through the server',
  );
});

test('requirements are compared: a stricter rung fulfils a weaker one', () => {
  assert.deepEqual(
    match([entry('a', [IMAGE, 'lacre:attribution:shared', 'lacre:host:open', 'lacre:root:software'])]).ids,
    ['a'],
  );
  for (const [selector, what] of [
    ['host:sealed', 'host'],
    ['root:vtpm', 'root'],
    ['coverage:read', 'coverage'],
    ['config:image', 'config'],
  ] as const) {
    const { ids, codes, findings } = match([entry('a', [IMAGE, `lacre:${selector}`])]);
    assert.deepEqual([ids, codes], [[], ['! appraisal.requirement.unmet']], selector);
    assert.match(findings[0]?.detail ?? '', new RegExp(`requires ${what}`));
  }
});

test('requirements are of the SPIFFE ID: the strictest of all its entries, wherever they are', () => {
  const elsewhere = { spiffeId: `${TD}/a`, parentId: `${TD}/spire/agent/lacre_tpm/99` };
  const strict = entry('strict', [IMAGE, 'lacre:config:image'], elsewhere);
  assert.deepEqual(match([entry('a', [IMAGE])]).ids, ['a']);
  assert.deepEqual(match([entry('a', [IMAGE]), strict]).codes, ['! appraisal.requirement.unmet']);
  assert.deepEqual(match([entry('a', [IMAGE]), strict, entry('b', [IMAGE])]).ids, ['b']);
  assert.deepEqual(
    match([entry('a', [IMAGE]), strict, entry('b', [IMAGE])]).codes,
    ['appraisal.requirement.unmet'],
    'told, as another entry fits',
  );
});

test('a host of grade open is accepted only where every entry of the ID says so', () => {
  const open = trusted(OWN.filter((selector) => selector !== 'lacre:host:standard'));
  assert.deepEqual(match([entry('a', [IMAGE])], open).ids, []);
  assert.deepEqual(match([entry('a', [IMAGE, 'lacre:host:open'])], open).ids, ['a']);
  assert.deepEqual(
    match([entry('a', [IMAGE, 'lacre:host:open']), entry('b', [IMAGE], { spiffeId: `${TD}/a` })], open).ids,
    [],
  );
});

test('a kind without a value, and an age that cannot be read, are fulfilled by nobody', () => {
  assert.deepEqual(match([entry('a', [IMAGE, 'lacre:host'])]).ids, []);
  const { maxEvidenceAgeMs } = requirementsOf([entry('a', ['lacre:evidence-age:soon'])]);
  assert.equal(maxEvidenceAgeMs, -1);
  assert.deepEqual(match([entry('a', [IMAGE, 'lacre:evidence-age:soon'])]).ids, []);
});

test('a requirement that does not exist is fulfilled by nobody', () => {
  for (const selector of ['lacre:host:perfect', 'lacre:attribution:', 'lacre:evidence-age:soon']) {
    assert.deepEqual(match([entry('a', [IMAGE, selector])]).ids, [], selector);
  }
});

test('age of evidence: the smallest of all, 30 s where one entry says nothing', () => {
  const aged = (text: string, id = 'a') => entry(id, [IMAGE, `lacre:evidence-age:${text}`], { spiffeId: `${TD}/a` });
  assert.deepEqual(match([aged('5s')], trusted(), 5000).ids, ['a']);
  assert.deepEqual(match([aged('5s')], trusted(), 5001).codes, ['! appraisal.requirement.unmet']);
  assert.deepEqual(match([aged('2m')], trusted(), 119_000).ids, ['a']);
  assert.deepEqual(match([aged('2m'), aged('10s', 'b')], trusted(), 11_000).ids, []);
  assert.deepEqual(match([aged('2m'), entry('b', [IMAGE], { spiffeId: `${TD}/a` })], trusted(), 31_000).ids, []);
  assert.deepEqual(match([entry('a', [IMAGE])], trusted(), DEFAULT_EVIDENCE_AGE_MS).ids, ['a']);
  for (const age of [Number.NaN, Number.POSITIVE_INFINITY])
    assert.deepEqual(match([entry('a', [IMAGE])], trusted(), age).ids, []);
});

test('a caller by exec needs every entry of the ID to allow it', () => {
  const exec = trusted([...OWN.filter((selector) => selector !== 'lacre:caller:init'), 'lacre:caller:exec']);
  assert.deepEqual(match([entry('a', [IMAGE])], exec).codes, ['! appraisal.requirement.unmet']);
  const allowed = entry('a', [IMAGE, 'lacre:exec:allowed']);
  assert.deepEqual(match([allowed], exec).ids, ['a']);
  assert.deepEqual(match([allowed], trusted()).ids, ['a']);
  assert.deepEqual(match([allowed, entry('b', [IMAGE], { spiffeId: `${TD}/a` })], exec).ids, []);
});

test('what an ID requires is worked out once; of one without entries it is the defaults', () => {
  const index = new EntryIndex([entry('a', [IMAGE, 'lacre:host:sealed'])], SERVER);
  assert.equal(index.requirements(`${TD}/a`).rungs.get('host'), 'sealed');
  assert.equal(index.requirements(`${TD}/a`), index.requirements(`${TD}/a`));
  assert.deepEqual(index.requirements(`${TD}/nobody`), requirementsOf([]));
});

test('a node is known by its verdict and the inventory', () => {
  const host = concludeVerdict('host', [], ['lacre:host:standard'], NOW);
  assert.deepEqual(nodeSelectors(host, { ekSha256Hex: 'ab', name: 'n1' }), [
    'lacre:host:standard',
    'lacre:ek:sha256:ab',
    'lacre:node:n1',
  ]);
  assert.deepEqual(nodeSelectors(host, { ekSha256Hex: 'ab', name: '' }), ['lacre:host:standard', 'lacre:ek:sha256:ab']);
});
