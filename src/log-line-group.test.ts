import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { LineGroup } from './log-line-group.ts';

test('lines of one turn are one write, in their order, and the next turn has its own', async () => {
  const written: string[] = [];
  const group = new LineGroup((text) => written.push(text));
  for (const line of ['a\n', 'b\n', 'c\n']) group.add(line);
  assert.deepEqual(written, []);
  await undefined;
  assert.deepEqual(written, ['a\nb\nc\n']);
  group.add('d\n');
  await nextTurn();
  assert.deepEqual(written, ['a\nb\nc\n', 'd\n']);
});

test('what waits can be written at once, and is written once', async () => {
  const written: string[] = [];
  const group = new LineGroup((text) => written.push(text));
  group.flush();
  group.add('a\n');
  group.flush();
  await nextTurn();
  assert.deepEqual(written, ['a\n']);
});

test('a write has a bound', () => {
  const written: string[] = [];
  const group = new LineGroup((text) => written.push(text));
  for (let line = 0; line < 100; line++) group.add(`${'x'.repeat(4095)}\n`);
  assert.ok(written.length >= 6 && written.every(({ length }) => length <= 65_536 + 4096));
});
