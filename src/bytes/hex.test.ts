import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { fromHex, toHex } from './hex.ts';

test('hexadecimal goes both ways', () => {
  fc.assert(fc.property(fc.uint8Array(), (bytes) => assert.deepEqual(fromHex(toHex(bytes), bytes.length), bytes)));
  assert.deepEqual(fromHex('aBcD'), Uint8Array.of(0xab, 0xcd));
  assert.equal(toHex(Uint8Array.of(1, 2, 0xff).subarray(1)), '02ff');
});

test('what is not hexadecimal, or not of the length asked for, is refused', () => {
  for (const text of ['a', 'zz', '0x01', ' 01', '01 ', '0１'])
    assert.throws(() => fromHex(text), { code: 'bytes.hex' });
  assert.throws(() => fromHex('0102', 3), { code: 'bytes.hex' });
  assert.throws(() => fromHex('', 1), { code: 'bytes.hex' });
  assert.throws(
    () => fromHex('zz'.repeat(1000)),
    (error: Error) => error.message.length < 200,
  );
});
