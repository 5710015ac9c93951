import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ByteWriter } from './byte-writer.ts';

test('every write may be the one that outgrows the buffer', () => {
  const filled = () => new ByteWriter().bytes(new Uint8Array(256));
  assert.deepEqual(filled().u8(0x01).finish().slice(256), Uint8Array.of(1));
  assert.deepEqual(filled().u16(0x0102).finish().slice(256), Uint8Array.of(1, 2));
  assert.deepEqual(filled().u32(0x01020304).finish().slice(256), Uint8Array.of(1, 2, 3, 4));
  assert.deepEqual(filled().u64(0x0102030405060708n).finish().slice(256), Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
  const large = new Uint8Array(5000).fill(7);
  assert.deepEqual(new ByteWriter().u8(9).bytes(large).finish().slice(1), large);
});
