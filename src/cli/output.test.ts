import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ago, safeText, table } from './output.ts';

test('attacker-made text cannot move the cursor, hide itself or turn direction', () => {
  assert.equal(safeText('/bin/\u001b[2Japp\n'), '/bin/\\u{1b}[2Japp\\u{a}');
  assert.equal(safeText('a\u202eb\u2028c'), 'a\\u{202e}b\\u{2028}c');
  assert.equal(safeText('/usr/bin/ação ok'), '/usr/bin/ação ok');
});

test('columns line up, and the last one is not padded', () => {
  const lines = table(
    ['A', 'LONG'],
    [
      ['xyz', 'q'],
      ['', 'zz'],
    ],
  ).split('\n');
  assert.equal(lines[1], 'xyz  q');
  assert.equal(lines[2], '     zz');
});

test('a time that never was is called never', () => {
  assert.equal(ago(0n), 'never');
  assert.equal(ago(1_000n, new Date(13_400)), '12 s ago');
});
