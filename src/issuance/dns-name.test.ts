import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isDnsName } from './dns-name.ts';

/** A name of this many characters, in labels that are none too long. */
const long = (length: number) => 'a.'.repeat(127).slice(0, length - 2) + 'a'.repeat(2);

test('names by RFC 1123 are taken, with a wildcard as the whole first label', () => {
  for (const name of [
    'a',
    'orders',
    'orders.shop.example',
    '0.example',
    '*.shop.example',
    'A-b.C',
    'ab',
    '*.a',
    'a'.repeat(63),
    long(255),
  ]) {
    assert.ok(isDnsName(name), name);
  }
});

test('what is no name is refused', () => {
  const bad = [
    '',
    '.',
    'a.',
    '.a',
    'a..b',
    '*',
    'a.*.b',
    '*a.b',
    '-a',
    'a-',
    'a_b',
    'a b',
    'a/b',
    'ä',
    'a\n',
    'a\u0000.b',
  ];
  for (const name of [...bad, 'a'.repeat(64), long(256), `*.${long(254)}`])
    assert.ok(!isDnsName(name), JSON.stringify(name));
});
