import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toHex } from './hex.ts';
import { random16 } from './random-16.ts';

test('each draw is another one, 16 bytes of its own', () => {
  const draws = Array.from({ length: 1000 }, random16);
  assert.equal(new Set(draws.map(toHex)).size, 1000);
  assert.ok(draws.every((bytes) => bytes.length === 16 && bytes.buffer.byteLength === 16));
});
