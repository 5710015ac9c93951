import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { splitDer, trimDer } from './der-sequence.ts';

/** A sequence of `length` content bytes with the shortest header. */
function sequence(length: number): Uint8Array {
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255];
  return new Uint8Array([0x30, ...size, ...new Uint8Array(length).fill(7)]);
}

test('padding of any kind is cut', () => {
  fc.assert(
    fc.property(fc.nat(1200), fc.uint8Array({ maxLength: 600 }), (length, padding) => {
      const der = sequence(length);
      assert.deepEqual(trimDer(new Uint8Array([...der, ...padding])), der);
    }),
  );
});

test('a sequence that ends early, or is none, is malformed', () => {
  for (const length of [0, 1, 127, 128, 300]) {
    const der = sequence(length);
    for (let cut = 0; cut < der.length; cut++) {
      assert.throws(() => trimDer(der.subarray(0, cut)), { code: 'tpm.malformed' }, `${cut} of ${der.length}`);
    }
  }
  for (const bytes of [
    [0x31, 0],
    [0x30, 0x80, 0, 0],
    [0x30, 0x84, 0, 0, 0, 0],
    [0xff, 0xff, 0xff],
  ]) {
    assert.throws(() => trimDer(new Uint8Array(bytes)), { code: 'tpm.malformed' });
  }
});

test('sequences one after the other are told apart, up to the padding', () => {
  const parts = [sequence(3), sequence(200), sequence(700)];
  assert.deepEqual(splitDer(new Uint8Array([...Buffer.concat(parts), 0xff, 0xff])), parts);
  assert.deepEqual(splitDer(new Uint8Array()), []);
  assert.equal(splitDer(Buffer.concat(Array.from({ length: 40 }, () => sequence(1)))).length, 16);
});

test('a length of up to three bytes is read, one without end is none, and an error says what it is about', () => {
  const long = new Uint8Array([0x30, 0x83, 1, 0x11, 0x70, ...new Uint8Array(70_000)]);
  assert.deepEqual(trimDer(new Uint8Array([...long, 1])), long);
  for (const bytes of [
    [0x30, 0x80, ...new Uint8Array(200)],
    [0x31, 0x7f, ...new Uint8Array(200)],
    [0x30, 2, 0],
  ])
    assert.throws(() => trimDer(new Uint8Array(bytes)), {
      code: 'tpm.malformed',
      details: { structure: 'certificate' },
    });
});
