import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toHex } from '../bytes/hex.ts';
import { freshSerial } from './fresh-serial.ts';

test('serials are 16 bytes, positive as they stand, and never the same', () => {
  const serials = Array.from({ length: 1000 }, freshSerial);
  assert.ok(serials.every(({ length }) => length === 16));
  assert.ok(serials.every(([first = 0]) => first >= 0x40 && first < 0x80));
  assert.equal(new Set(serials.map(toHex)).size, serials.length);
  assert.equal(new Set(serials.map((serial) => toHex(serial.subarray(8)))).size, serials.length);
});

test('a serial does not change when others are drawn', () => {
  const serial = freshSerial();
  const hex = toHex(serial);
  for (let drawn = 0; drawn < 200; drawn++) freshSerial();
  assert.equal(toHex(serial), hex);
});
