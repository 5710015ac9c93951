import assert from 'node:assert/strict';
import { test } from 'node:test';
import { at } from './at.ts';

test('an item that is there is given, one that is not is a fault', () => {
  assert.equal(at([7, 8], 1), 8);
  assert.equal(at(Uint8Array.of(0), 0), 0);
  for (const index of [-1, 2, 0.5]) assert.throws(() => at([7, 8], index), RangeError);
});
