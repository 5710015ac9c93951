import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { TurnSlices } from './turn-slices.ts';

function spend(ms: number): void {
  const endMs = performance.now() + ms;
  while (performance.now() < endMs);
}

test('what comes is done later, in its order, and what takes long leaves others their turn', async () => {
  const slices = new TurnSlices();
  const done: number[] = [];
  for (let piece = 0; piece < 6; piece += 1) {
    slices.add(() => {
      done.push(piece);
      spend(3);
    });
  }
  assert.deepEqual(done, []);
  let turns = 0;
  for (; done.length < 6 && turns < 50; turns += 1) await setImmediate();
  assert.deepEqual(done, [0, 1, 2, 3, 4, 5]);
  assert.ok(turns >= 3, `${turns} turns for 18 ms`);
});

test('work that makes work is done too, also after all was done', async () => {
  const slices = new TurnSlices();
  const done: string[] = [];
  slices.add(() => slices.add(() => done.push('inner')));
  for (let turn = 0; turn < 5; turn += 1) await setImmediate();
  slices.add(() => done.push('after'));
  for (let turn = 0; turn < 5; turn += 1) await setImmediate();
  assert.deepEqual(done, ['inner', 'after']);
});
