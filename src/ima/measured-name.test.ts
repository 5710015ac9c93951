import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeName, measuredName } from './measured-name.ts';

test('ordinary names stay as they are', () => {
  for (const name of ['/usr/bin/python3.11', '/bin/[', "/opt/it's~+=@,", '/söhne/データ/😀', 'memfd:x_(deleted)']) {
    assert.equal(decodeName(Buffer.from(name)), name);
  }
});

const escaped: readonly (readonly [Uint8Array | string, string])[] = [
  ['/a\nb', '/a\\x0ab'],
  ['/a\u001b[31m', '/a\\x1b[31m'],
  ['/a\\b', '/a\\x5cb'],
  ['/a\\xff', '/a\\x5cxff'],
  [Uint8Array.of(0x2f, 0xff), '/\\xff'],
  [Uint8Array.of(0x2f, 0x20, 0x7e, 0x7f, 0x1f, 0x5c, 0xff), '/ ~\\x7f\\x1f\\x5c\\xff'],
  [Uint8Array.of(0x2f, 0xc3, 0xa4, 0xff), '/\\xc3\\xa4\\xff'],
  [Uint8Array.of(0x2f, 0xc0, 0xaf), '/\\xc0\\xaf'],
  [Uint8Array.of(0x2f, 0xed, 0xa0, 0x80), '/\\xed\\xa0\\x80'],
  ['/a\u0085b', '/a\\xc2\\x85b'],
  ['/a\u2028b', '/a\\xe2\\x80\\xa8b'],
  ['/a\ufffdb', '/a\ufffdb'],
];
for (const [name, text] of escaped) {
  test(`${JSON.stringify(text)} is written so`, () => assert.equal(decodeName(Buffer.from(name)), text));
}

test('no two names become the same text: the bytes can be had back', () => {
  const nameBytes = fc.oneof(
    fc.uint8Array({ minLength: 1, maxLength: 24 }),
    fc.string({ unit: 'grapheme', minLength: 1 }).map((text) => Buffer.from(text)),
    fc
      .array(fc.constantFrom(0x5c, 0x78, 0x66, 0xff, 0xc3, 0xa4, 0x0a), { minLength: 1 })
      .map((list) => Uint8Array.from(list)),
  );
  fc.assert(
    fc.property(nameBytes, (bytes) => {
      const text = decodeName(Buffer.from(bytes));
      assert.deepEqual(new Uint8Array(bytesBack(text)), new Uint8Array(bytes));
      assert.ok(!/[\p{Cc}\u2028\u2029]/u.test(text));
    }),
    { numRuns: 500 },
  );
});

test('a reference path is spelled as the kernel spells it: spaces are underscores', () => {
  assert.equal(measuredName('/opt/My App/run it'), '/opt/My_App/run_it');
  assert.equal(measuredName('/lib/systemd/dev-disk\\x2dby.mount'), '/lib/systemd/dev-disk\\x5cx2dby.mount');
  assert.equal(measuredName(Uint8Array.of(0x2f, 0xff, 0x20)), '/\\xff_');
  assert.equal(measuredName(' memfd: '), '_memfd:_');
});

function bytesBack(text: string): Buffer {
  const parts = text.split(/(\\x[0-9a-f]{2})/);
  return Buffer.concat(
    parts.map((part) => (part.startsWith('\\x') ? Buffer.from(part.slice(2), 'hex') : Buffer.from(part))),
  );
}
