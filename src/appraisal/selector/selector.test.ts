import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkSelector, LADDERS, parseEvidenceAge, parseSelector } from './selector.ts';

const SHA256 = `sha256:${'0a'.repeat(32)}`;
const HALF = SHA256.slice(0, -1);
/** Every kind of Lacre's own with values that it can have, and such as it cannot. */
const KINDS: readonly [kind: string, good: readonly string[], bad: readonly string[]][] = [
  ['attribution', ['shared', 'exact'], ['host']],
  ['host', ['open', 'standard', 'sealed'], ['closed']],
  ['root', ['software', 'vtpm', 'hardware'], ['tpm']],
  ['coverage', ['exec', 'read'], ['reads']],
  ['config', ['changed', 'image'], ['equal']],
  ['image', ['proven', 'claimed', SHA256], [HALF, SHA256.toUpperCase(), 'sha256:', 'latest']],
  ['image-name', ['a', 'registry.example/a:1'], []],
  ['entrypoint', ['/a', '/usr/bin/app'], ['/', 'a', 'usr/bin/app']],
  ['container-name', ['a', 'a:b'], []],
  ['container', ['closed'], ['open']],
  ['range', ['fresh', 'reused'], ['old']],
  ['caller', ['init', 'exec'], ['foreign']],
  ['boot', ['none'], ['some']],
  ['kernel', [SHA256], [HALF, SHA256.toUpperCase(), 'proven']],
  ['host-reference', ['a', 'a:b'], []],
  ['node', ['n1', 'a:b'], []],
  ['ek', [SHA256], [HALF, SHA256.toUpperCase(), 'proven']],
  ['measures', ['reads'], ['exec']],
  ['exec', ['allowed'], ['denied']],
  ['evidence-age', ['1s', '30s', '5m', '1h'], ['500ms', '2h', 'soon']],
];
const FREE = ['image-name', 'entrypoint', 'container-name', 'host-reference', 'node'];
const malformed = { code: 'appraisal.selector.malformed' };

test('of each kind just the values that can be fulfilled are taken', () => {
  for (const [kind, good, bad] of KINDS) {
    for (const value of good)
      assert.deepEqual(parseSelector(`lacre:${kind}:${value}`), { type: 'lacre', value: `${kind}:${value}` });
    const longer = FREE.includes(kind) ? [] : good.flatMap((value) => [`x${value}`, `${value}x`, `${value}:`]);
    for (const value of [...bad, ...longer, ''])
      assert.throws(() => parseSelector(`lacre:${kind}:${value}`), malformed, `${kind}:${value}`);
    assert.throws(() => parseSelector(`lacre:${kind}`), malformed, kind);
    assert.throws(() => parseSelector(`lacre:${kind}s`), malformed, `${kind}s`);
  }
});

test('a refusal says what is known: the rungs of a ladder, or all kinds', () => {
  assert.throws(() => parseSelector('lacre:host:x'), { message: /known are open, standard, sealed$/ });
  const kinds = new RegExp(`known are one of ${KINDS.map(([kind]) => kind).join(', ')} with its value$`);
  assert.throws(() => parseSelector('lacre:x:y'), { message: kinds });
  assert.deepEqual(
    Object.keys(LADDERS),
    KINDS.slice(0, 5).map(([kind]) => kind),
  );
});

test('a type has one letter at least, and so has a value', () => {
  assert.deepEqual(parseSelector('a:b'), { type: 'a', value: 'b' });
  for (const bad of ['a', 'a:', ':b', ':', '']) assert.throws(() => parseSelector(bad), malformed, bad);
});

test('a kind that is not Lacre’s is refused; other types are as SPIRE takes them', () => {
  for (const bad of ['lacre:', 'lacre', 'lacre:imagename:x', 'lacre:constructor:x', 'lacre:toString:x'])
    assert.throws(() => parseSelector(bad), malformed, bad);
  assert.deepEqual(parseSelector('docker:label:a:b'), { type: 'docker', value: 'label:a:b' });
  for (const value of ['ns:x', 'anything', 'host:x']) checkSelector({ type: 'k8s', value });
});

test('ages are read with their unit, within bounds', () => {
  assert.deepEqual(
    ['1s', '1500ms', '2m', '1h', '000001000ms'].map(parseEvidenceAge),
    [1000, 1500, 120_000, 3_600_000, 1000],
  );
  for (const bad of [
    '0s',
    '999ms',
    '61m',
    '2h',
    '3600001ms',
    '-5s',
    '1.5s',
    '5 s',
    '5',
    's',
    '5sx',
    '99999999999s',
    '0000001000ms',
  ]) {
    assert.throws(() => parseEvidenceAge(bad), malformed, bad);
  }
});
