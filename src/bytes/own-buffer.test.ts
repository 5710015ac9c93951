import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ownBuffer } from './own-buffer.ts';

test('a copy has memory of its own, and no more of it', () => {
  const bytes = Buffer.from('abc');
  const copy = ownBuffer(bytes);
  bytes[0] = 0;
  assert.equal(copy.toString(), 'abc');
  assert.equal(copy.buffer.byteLength, 3);
});
