import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeName } from './measured-name.ts';
import { plainNameHash } from './plain-name.ts';

const byte = fc.oneof(
  fc.integer({ min: 0x21, max: 0x7e }),
  fc.nat(255),
  fc.constantFrom(0x20, 0x21, 0x5c, 0x7e, 0x7f, 0x80, 0xff),
);

test('a name is plain just where the list spells it as it is, and it has no space', () => {
  fc.assert(
    fc.property(fc.array(byte, { maxLength: 12 }), fc.nat(5), (name, before) => {
      const bytes = Buffer.from([...Array(before).fill(0), ...name, 0]);
      const plain = decodeName(Buffer.from(name)) === Buffer.from(name).toString('latin1') && !name.includes(0x20);
      const hash = plainNameHash(bytes, before, before + name.length);
      assert.equal(hash >= 0, plain);
      assert.ok(hash < 2 ** 31 && Number.isInteger(hash));
      assert.equal(hash, plainNameHash(Buffer.from(name), 0, name.length), 'wherever it lies');
    }),
    { numRuns: 1000 },
  );
});

test('every single byte among plain ones is told', () => {
  for (let length = 1; length <= 9; length++)
    for (let at = 0; at < length; at++)
      for (let value = 0; value < 256; value++) {
        const name = Buffer.alloc(length, 0x61);
        name[at] = value;
        const plain = value > 0x20 && value < 0x7f && value !== 0x5c;
        assert.equal(plainNameHash(name, 0, length) >= 0, plain, `${value} at ${at} of ${length}`);
      }
});

test('names of files have numbers of their own', () => {
  for (let length = 1; length <= 9; length++) {
    const names = Array.from({ length }, (_, at) => Buffer.alloc(length, 0x61).fill(0x62, at, at + 1));
    const numbers = [Buffer.alloc(length, 0x61), ...names].map((name) => plainNameHash(name, 0, length));
    assert.equal(new Set(numbers).size, length + 1, `${length} characters`);
  }
  const seen = new Set<number>();
  for (let i = 0; i < 5000; i++) {
    const name = Buffer.from(`/usr/lib/python3/dist-packages/module_${i}/__init__.py`);
    seen.add(plainNameHash(name, 0, name.length));
  }
  assert.ok(seen.size > 4990, `${seen.size}`);
});
