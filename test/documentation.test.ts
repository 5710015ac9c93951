import assert from 'node:assert/strict';
import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';

const root = dirname(import.meta.dirname);
const EXCLUDE = ['node_modules/**', 'build/**', 'dist/**'];
const pages = globSync('**/*.md', { cwd: root, exclude: EXCLUDE });
const textOf = (page: string) => readFileSync(join(root, page), 'utf8');

test('every link between pages leads to a file', () => {
  const broken = pages.flatMap((page) =>
    [...textOf(page).matchAll(/\]\(([^)#:\s]+)(?:#[^)\s]*)?\)/g)]
      .map(([, target = '']) => target)
      .filter((target) => !existsSync(join(root, dirname(page), target)))
      .map((target) => `${page}: ${target}`),
  );
  assert.deepEqual(broken, []);
});

test('every path of this repository that a page names is there', () => {
  const named = /`((?:src|test|docs|scripts|deploy|vectors|proto|bench|native)\/[\w./*{},-]+)`/g;
  const missing = pages.flatMap((page) =>
    [...textOf(page).matchAll(named)]
      .map(([, path = '']) => path)
      .filter((path) => globSync(path.replace(/\/$/, ''), { cwd: root }).length === 0)
      .map((path) => `${page}: ${path}`),
  );
  assert.deepEqual(missing, []);
});

test('every attack that is tried has its row in the threat model, by the exact name of its test', () => {
  const model = textOf('THREAT-MODEL.md');
  const attacks = readdirSync(join(root, 'test/attacks')).filter((name) => name.endsWith('.test.ts'));
  assert.ok(attacks.length > 0);
  assert.deepEqual(
    attacks.filter((name) => !model.includes(`\`test/attacks/${name}\``)),
    [],
  );
  const rows = model
    .slice(model.indexOf('## Attacks'))
    .split('\n')
    .filter((line) => line.startsWith('| ') && !line.startsWith('| attack '));
  assert.deepEqual(
    rows.filter((row) => !/`(?:src|test)\/[\w./-]+\.test\.ts`[^|]*\|$/.test(row)),
    [],
  );
});

test('every attack names the code by which it is refused, or says why there is none', () => {
  const known = new Set(
    ['docs/errors.md', 'docs/findings.md'].flatMap((page) =>
      [...textOf(page).matchAll(/^\| `([a-z][a-z0-9.-]*)`/gm)].map(([, code = '']) => code),
    ),
  );
  assert.ok(known.size > 200);
  const attacks = globSync('test/attacks/*.test.ts', { cwd: root });
  const named = (text: string) =>
    [...text.matchAll(/'([a-z]+(?:\.[a-z0-9-]+)+)'/g)].some(([, code = '']) => known.has(code));
  const without = attacks.filter((attack) => !named(textOf(attack)));
  assert.deepEqual(
    without.filter((attack) => !/^\/\/ No code is told: \S/m.test(textOf(attack))),
    [],
  );
  // So few that each is worth a sentence.
  assert.ok(without.length <= 4, without.join());
});

test('no attack stands twice in the threat model, and no two rows say the same', () => {
  const rows = textOf('THREAT-MODEL.md')
    .split('\n')
    .filter((line) => /^\| .* \| .* \| .*\.test\.ts/.test(line));
  assert.ok(rows.length > 100);
  const attacks = rows.map((row) => row.split(' | ')[0]);
  assert.deepEqual(
    attacks.filter((attack, index) => attacks.indexOf(attack) !== index),
    [],
  );
  const files = rows.flatMap((row) => [...row.matchAll(/`(test\/attacks\/[^`]+)`/g)].map(([, file = '']) => file));
  assert.deepEqual(
    files.filter((file, index) => files.indexOf(file) !== index),
    [],
    'an attack file has one row',
  );
});
