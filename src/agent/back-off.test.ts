import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BackOff } from './back-off.ts';

test('waits double to their most, and begin anew after a reset', () => {
  const backOff = new BackOff({ firstMs: 1_000, mostMs: 60_000, random: () => 0 });
  const waits = Array.from({ length: 8 }, () => backOff.next());
  assert.deepEqual(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
  backOff.reset();
  assert.equal(backOff.next(), 1_000);
});

test('each wait is shortened at random, by half at most', () => {
  const backOff = new BackOff();
  for (const fullMs of [1_000, 2_000, 4_000]) {
    const waitMs = backOff.next();
    assert.ok(waitMs > fullMs / 2 && waitMs <= fullMs, `${waitMs}`);
  }
});

test('a wait ends at once when it is given up', async () => {
  const stop = new AbortController();
  const startedMs = performance.now();
  setTimeout(() => stop.abort(), 20);
  await new BackOff().wait(10_000, stop.signal);
  assert.ok(performance.now() - startedMs < 1_000);
});
