import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Round } from './container-round.ts';

const mapOf = (...keys: string[]) => new Map(keys.map((key) => [key, key]));

test('each key has its turn once in a period, however often it is asked', () => {
  for (const stepMs of [1, 7, 25, 100]) {
    const round = new Round(mapOf('a', 'b', 'c'), 100, 0);
    const turns = Array.from({ length: 300 / stepMs }, (_, step) => round.due((step + 1) * stepMs)).flat();
    const counts = ['a', 'b', 'c'].map((key) => turns.filter((turn) => turn === key).length);
    assert.ok(
      counts.every((count) => count === 3 || (count === 2 && 300 % stepMs > 0)),
      `${counts} turns with steps of ${stepMs} ms`,
    );
  }
});

test('a key that comes has its turn within a period, and one that goes has none', () => {
  const map = mapOf('a', 'b');
  const round = new Round(map, 100, 0);
  assert.deepEqual(round.due(50), ['a']);
  map.delete('b');
  map.set('c', 'c');
  assert.deepEqual(round.due(100), ['c']);
  assert.deepEqual(round.due(150), ['a']);
});

test('after a long pause each has one turn; of none there is none', () => {
  assert.deepEqual(new Round(mapOf('a', 'b'), 100, 0).due(100_000), ['a', 'b']);
  const map = mapOf();
  const round = new Round(map, 100, 0);
  assert.deepEqual(round.due(1_000), []);
  map.set('late', 'late');
  assert.deepEqual(round.due(1_050), []);
  assert.deepEqual(round.due(1_100), ['late']);
});
