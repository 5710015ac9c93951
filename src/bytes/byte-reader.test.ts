import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ByteReader } from './byte-reader.ts';

const bytes = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);

test('integers are read in the byte order asked for', () => {
  const big = new ByteReader(bytes, 'x');
  assert.deepEqual([big.u8(), big.u16(), big.u32(), big.u64()], [1, 0x0203, 0x04050607, 0x08090a0b0c0d0e0fn]);
  assert.equal(big.remaining, 0);
  big.end();
  const little = new ByteReader(bytes, 'x', { littleEndian: true });
  assert.deepEqual(
    [little.u8(), little.u16(), little.u32(), little.u64()],
    [1, 0x0302, 0x07060504, 0x0f0e0d0c0b0a0908n],
  );
});

test('a reader of a view sees nothing outside it', () => {
  const reader = new ByteReader(bytes.subarray(4, 6), 'x');
  assert.deepEqual([reader.u8(), reader.u8(), reader.offset], [5, 6, 2]);
  assert.throws(() => reader.u8(), { code: 'bytes.truncated', details: { offset: 2, needed: 1, size: 2 } });
});

test('nothing is read past the end, and a failed read moves nothing', () => {
  const reader = new ByteReader(bytes.subarray(0, 3), 'x');
  for (const read of [() => reader.u32(), () => reader.u64(), () => reader.bytes(4), () => reader.bytes(-1)]) {
    assert.throws(read, { code: 'bytes.truncated' });
    assert.equal(reader.offset, 0);
  }
  assert.deepEqual(reader.bytes(3), bytes.subarray(0, 3));
});

test('sized strings are bounded before they are read', () => {
  const sized = Uint8Array.of(0, 2, 7, 8, 0, 0, 0, 2, 5, 6, 0xff);
  const reader = new ByteReader(sized, 'x');
  assert.deepEqual(reader.sized16(2), Uint8Array.of(7, 8));
  assert.deepEqual(reader.sized32(2), Uint8Array.of(5, 6));
  assert.throws(() => reader.end(), { code: 'bytes.trailing', details: { offset: 10, remaining: 1 } });
  assert.throws(() => new ByteReader(sized, 'x').sized16(1), { code: 'bytes.oversized' });
  assert.throws(() => new ByteReader(sized.subarray(4), 'x').sized32(1), { code: 'bytes.oversized' });
  assert.throws(() => new ByteReader(Uint8Array.of(0, 9), 'x').sized16(9), { code: 'bytes.truncated' });
});
