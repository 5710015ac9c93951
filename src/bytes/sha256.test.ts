import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { sha256 } from './sha256.ts';

const bytes = (length: number) => Uint8Array.from({ length }, (_, index) => (7 * index) % 251);

test('parts are hashed one after another, whether they are short, long, one or none', () => {
  for (const lengths of [[], [0], [32], [513], [1, 0, 31], [500, 12], [500, 13], [512, 1, 3], [3, 700, 3]]) {
    const parts = lengths.map(bytes);
    const expected = createHash('sha256').update(Buffer.concat(parts)).digest();
    const digest = sha256(...parts);
    assert.deepEqual(digest, new Uint8Array(expected), `parts of ${lengths}`);
    assert.equal(Buffer.isBuffer(digest), false);
  }
});

test('a digest is nobody else’s memory', () => {
  const first = sha256(bytes(3), bytes(4));
  const kept = first.slice();
  sha256(bytes(9), bytes(9));
  assert.deepEqual(first, kept);
});
