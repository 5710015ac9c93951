import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fatalFinding, toldFinding } from './finding.ts';
import { FINDING_CODES, linkOf } from './finding-code.ts';
import { concludeVerdict, refuseVerdict, sameConclusion, Verdict, verdictMessage } from './verdict.ts';

const NOW = new Date('2026-11-23T20:00:00Z');
const src = join(import.meta.dirname, '..');
const sources = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));

test('trusted only without a fatal finding; one that is not has no selectors', () => {
  const told = toldFinding('container.open', 'c', 'open');
  const fatal = fatalFinding('appraisal.image.unknown', 'c', 'unknown');
  assert.equal(concludeVerdict('c', [told], ['a:b', 'a:b'], NOW).trusted, true);
  assert.deepEqual(concludeVerdict('c', [told], ['a:b', 'a:b'], NOW).selectors, ['a:b']);
  const refused = concludeVerdict('c', [told, fatal], ['a:b'], NOW);
  assert.deepEqual([refused.trusted, refused.selectors, refused.findings], [false, [], [told, fatal]]);
  assert.equal(refuseVerdict('c', [fatal], NOW).trusted, false);
  assert.deepEqual(refuseVerdict('c', [told, fatal], NOW).findings, [told, fatal]);
  assert.throws(() => refuseVerdict('c', [told], NOW), { code: 'appraisal.verdict.forged' });
});

test('verdicts conclude the same where subject, trust, selectors and findings are the same, whenever it was', () => {
  const told = toldFinding('container.open', 'c', 'open');
  const fatal = fatalFinding('appraisal.image.unknown', 'c', 'unknown');
  const one = concludeVerdict('c', [told], ['a:b'], NOW);
  const same = (other: Verdict) => [sameConclusion(one, other), sameConclusion(other, one)];
  assert.deepEqual(same(concludeVerdict('c', [{ ...told }], ['a:b'], new Date(0))), [true, true]);
  for (const other of [
    concludeVerdict('d', [told], ['a:b'], NOW),
    concludeVerdict('c', [told], ['a:c'], NOW),
    concludeVerdict('c', [], ['a:b'], NOW),
    concludeVerdict('c', [{ ...told, detail: 'else' }], ['a:b'], NOW),
    concludeVerdict('c', [told, fatal], ['a:b'], NOW),
  ])
    assert.deepEqual(same(other), [false, false]);
});

test('a look-alike is no verdict, and nothing makes one out of a refusal', () => {
  const verdict = concludeVerdict('c', [fatalFinding('appraisal.image.unknown', 'c', 'x')], [], NOW);
  assert.equal(Verdict.isVerdict(verdict), true);
  const fakes = [
    { ...verdict, trusted: true },
    Object.create(Verdict.prototype),
    structuredClone({ ...verdict }),
    null,
    undefined,
    'verdict',
    new Proxy(verdict, {}),
  ];
  for (const fake of fakes) assert.equal(Verdict.isVerdict(fake), false);
  const make = Verdict as unknown as new (...args: unknown[]) => Verdict;
  assert.throws(() => new make(Symbol('verdict'), 'c', [], [], NOW), { code: 'appraisal.verdict.forged' });
  assert.throws(() => Object.assign(verdict, { trusted: true }), TypeError);
  assert.throws(() => (verdict.findings as unknown[]).pop(), TypeError);
});

test('only the appraisals conclude verdicts', () => {
  const importers = sources.filter(
    (name) => !name.endsWith('.test.ts') && readFileSync(join(src, name), 'utf8').includes('concludeVerdict'),
  );
  assert.deepEqual(importers.sort(), [
    'appraisal/appraise-container.ts',
    'appraisal/appraise-host.ts',
    'appraisal/verdict.ts',
  ]);
});

test('a verdict travels with all that it found', () => {
  const finding = fatalFinding('appraisal.file.unexpected', 'c', 'changed', {
    path: '/a',
    expectedSha256: ['ab'],
    seenSha256: 'cd',
    logIndex: 0,
  });
  const message = verdictMessage(
    concludeVerdict('c', [finding, fatalFinding('appraisal.image.unknown', 'c', 'x')], [], NOW),
  );
  assert.partialDeepStrictEqual(message.findings[0], {
    link: 'appraisal',
    code: 'appraisal.file.unexpected',
    path: '/a',
    expectedSha256: ['ab'],
    seenSha256: 'cd',
    logIndex: 0n,
    fatal: true,
  });
  assert.partialDeepStrictEqual(message.findings[1], { path: '', seenSha256: '', logIndex: -1n });
  assert.equal(message.evidenceTimeUnixMs, BigInt(NOW.getTime()));
  assert.partialDeepStrictEqual(message, { trusted: false, selectors: [] });
  const trusted = verdictMessage(concludeVerdict('c', [], ['a:b', 'c:d'], NOW));
  assert.partialDeepStrictEqual(trusted, { trusted: true, findings: [], selectors: ['a:b', 'c:d'] });
});

test('every code belongs to a link, is made somewhere, and is expected by some test', () => {
  const text = (names: string[]) => names.map((name) => readFileSync(join(src, name), 'utf8')).join('\n');
  const made = text(sources.filter((name) => !name.endsWith('.test.ts') && !name.endsWith('finding-code.ts')));
  const tested = text(sources.filter((name) => name.endsWith('.test.ts')));
  const vectors = readdirSync(join(src, '../vectors'), { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.json'),
  );
  const expected = tested + vectors.map((name) => readFileSync(join(src, '../vectors', name), 'utf8')).join('\n');
  const codes = Object.keys(FINDING_CODES) as (keyof typeof FINDING_CODES)[];
  assert.deepEqual([...new Set(codes.map(linkOf))], ['tpm', 'boot', 'ima', 'container', 'appraisal']);
  for (const code of codes) {
    if (linkOf(code) === 'boot') continue; // made and tested by that link
    assert.ok(made.includes(`'${code}'`), `${code} is made by nothing`);
    if (code === 'ima.list.unexplained') continue; // made by the session, which no unit test here has
    assert.ok(
      new RegExp(`['"](! )?${code.replaceAll('.', '\\.')}['"]`).test(expected),
      `${code} is expected by no test`,
    );
  }
});
