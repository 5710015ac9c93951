import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { findMutants } from './find-mutants.ts';
import { instrument, SWITCH } from './instrument.ts';
import { regexChanges } from './regex-operator.ts';
import { readSurvivors } from './survivor-list.ts';
import { LINKS, ROOT, sourceFiles } from './test-files.ts';

const changes = (source: string) =>
  findMutants('x.ts', source, 1).mutants.map(
    ({ operator, original, replacement }) => `${operator}: ${original} → ${replacement}`,
  );

test('each operator makes its changes, and none twice', () => {
  assert.deepEqual(changes('const f = (a: number): boolean => a < 10;'), [
    'body: a < 10 → undefined',
    'boundary: a < 10 → a <= 10',
    'condition: a < 10 → true',
    'condition: a < 10 → false',
    'number: 10 → 11',
  ]);
  assert.deepEqual(changes("if ((a ?? b) > 1 || c === '') f();"), [
    "logical: (a ?? b) > 1 || c === '' → ((a ?? b) > 1)",
    "logical: (a ?? b) > 1 || c === '' → (c === '')",
    "condition: (a ?? b) > 1 || c === '' → true",
    'boundary: (a ?? b) > 1 → (a ?? b) >= 1',
    'logical: a ?? b → a',
    'logical: a ?? b → b',
    'number: 1 → 2',
    "string: '' → 'mutant'",
    'statement: f(); → ',
  ]);
  assert.deepEqual(changes('const g = x?.list.filter(p).every(q);'), [
    'optional: x?.list.filter(p).every(q) → x.list.filter(p).every(q)',
  ]);
  assert.deepEqual(changes('const h = (x ?? y).some(q);'), [
    'method: (x ?? y).some(q) → (x ?? y).every(q)',
    'logical: x ?? y → x',
    'logical: x ?? y → y',
  ]);
  assert.deepEqual(changes("throw new LacreError('a.code', 'a sentence', { a: 1 });"), ["string: 'a.code' → ''"]);
});

test('a pattern loses an anchor, or a count moves by one', () => {
  assert.deepEqual(regexChanges('^[a-z]{1,3}\\.\\d+$', ''), [
    '[a-z]{1,3}\\.\\d+$',
    '^[^a-z]{1,3}\\.\\d+$',
    '^[a-z]{2,3}\\.\\d+$',
    '^[a-z]{1,4}\\.\\d+$',
    '^[a-z]{1,3}\\.\\D+$',
    '^[a-z]{1,3}\\.\\d*$',
    '^[a-z]{1,3}\\.\\d+',
  ]);
});

test('with every mutant off the source does what it did, and each one on does something else', () => {
  const source = 'let total = 0; for (const one of [1, 2, 3]) { if (one >= 2) total += one; } return total;';
  const { javascript, mutants } = findMutants('x.ts', `function f(): number { ${source} }`, 1);
  const run = new Function(SWITCH, `${instrument(javascript, mutants)}; return f();`);
  assert.equal(
    run(() => false),
    5,
  );
  const seen = mutants.map(({ id }) => run((asked: number) => asked === id));
  assert.equal(mutants.length, 12);
  assert.ok(
    seen.every((value) => value !== 5),
    seen.join(),
  );
});

test('every source of the links can be instrumented, and no two mutants have one key', () => {
  for (const file of LINKS.flatMap(sourceFiles)) {
    const { javascript, mutants } = findMutants(file, readFileSync(join(ROOT, file), 'utf8'), 1);
    const text = instrument(javascript, mutants);
    for (const { id, key } of mutants) assert.equal(text.split(`${SWITCH}(${id})`).length, 2, key);
    assert.equal(new Set(mutants.map(({ key }) => key)).size, mutants.length, file);
  }
});

test('lists of survivors have a reason above every key, and are of links', () => {
  for (const name of readdirSync(join(import.meta.dirname, 'survivors'))) {
    const link = name.replace(/\.txt$/, '');
    assert.ok(LINKS.includes(link), name);
    for (const key of readSurvivors(link).keys()) assert.ok(key.startsWith(`src/${link}/`), key);
  }
});
