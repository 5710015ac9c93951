import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type FileHome, KEY_NAME_AT, keyOf, lengthText, MeasuredFile, placeOf } from './measured-file.ts';

const digest = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString('hex'));
const path = fc.oneof(
  fc.constantFrom('/bin/app', '/a', '/caf\u00e9', '/\u20ac', '/a\\x09b', 'memfd:x', '/a_b'),
  fc.string({ minLength: 1, maxLength: 40 }).map((name) => `/${name}`),
);

test('path and digest are what they were made of, and the key tells files apart', () => {
  fc.assert(
    fc.property(fc.tuple(path, digest), fc.tuple(path, digest), ([path1, hex1], [path2, hex2]) => {
      const [one, other] = [MeasuredFile.ofSha256(path1, hex1), MeasuredFile.ofSha256(path2, hex2)];
      assert.deepEqual([one.path, one.hex, one.algorithm, one.digestState], [path1, hex1, 'sha256', 'usable']);
      assert.deepEqual(one.fileDigest, { algorithm: 'sha256', hex: hex1 });
      assert.equal(one.key === other.key, path1 === path2 && hex1 === hex2);
      assert.equal(one.key, keyOf(hex1, path1));
      if (one.place >= 0) assert.deepEqual(textOf(MeasuredFile.plain(one.key, one.place)), textOf(one));
    }),
  );
});

function textOf({ path, hex, algorithm, digestState, place, key }: MeasuredFile) {
  return { path, hex, algorithm, digestState, place, key };
}

test('digests of other lengths, and none', () => {
  for (const [algorithm, bytes] of [['sha384', 48] as const, ['sha512', 64] as const]) {
    const hex = '61'.repeat(bytes);
    const file = MeasuredFile.of('/a', { fileDigest: { algorithm, hex }, digestState: 'usable' });
    assert.deepEqual([file.hex, file.path, file.place], [hex, '/a', -1]);
  }
  const none = MeasuredFile.of('/a', { fileDigest: undefined, digestState: 'zero' });
  assert.deepEqual([none.hex, none.algorithm, none.fileDigest, none.key], ['', '', undefined, '/a']);
  const long = '/a'.repeat(40);
  assert.equal(MeasuredFile.of(long, { fileDigest: undefined, digestState: 'refused' }).place, -1);
});

test('a buffer and a name that is not plain are searched for by their text', () => {
  const fileDigest = { algorithm: 'sha256', hex: '01'.repeat(32) } as const;
  assert.equal(MeasuredFile.of('kexec', { fileDigest, digestState: 'usable' }, new Uint8Array(1)).place, -1);
  assert.equal(MeasuredFile.ofSha256('/caf\u00e9', fileDigest.hex).place, -1);
  assert.equal(MeasuredFile.ofSha256('/a b', fileDigest.hex).place, -1);
  assert.ok(MeasuredFile.ofSha256('/a', fileDigest.hex).place >= 0);
});

test('the place is the same wherever name and digest lie', () => {
  const file = MeasuredFile.ofSha256('/usr/bin/app', 'fedcba9876543210'.repeat(4));
  for (const around of [0, 0xff]) {
    const bytes = Buffer.concat([Buffer.alloc(3, around), Buffer.from(file.key, 'latin1'), Buffer.alloc(2, around)]);
    assert.equal(placeOf(bytes, 3 + KEY_NAME_AT, bytes.length - 2, bytes, 3), file.place);
  }
  assert.equal(file.key.slice(32, KEY_NAME_AT), lengthText('/usr/bin/app'.length));
});

test('the text of a row is asked for once, whichever part comes first', () => {
  const { key, place, path, hex } = MeasuredFile.ofSha256('/usr/bin/app', '0123456789abcdef'.repeat(4));
  let asked = 0;
  const home = {
    rowKey: (row: number) => {
      asked += 1;
      assert.equal(row, 7);
      return key;
    },
  };
  const file = MeasuredFile.ofRow(home, 7, place);
  for (let again = 0; again < 3; again += 1) assert.deepEqual([file.path, file.hex], [path, hex]);
  assert.equal(asked, 2);
});

test('the length in a key is that of the name with its final zero, little endian', () => {
  assert.equal(lengthText(5), '\x06\0\0\0');
  assert.equal(lengthText(300), '\x2d\x01\0\0');
  assert.equal(keyOf('ff'.repeat(32), '/a'), `${'\xff'.repeat(32)}\x03\0\0\0/a`);
});

test('files of one name that differ in a bit of the first three bytes of their digests have places of their own', () => {
  const digests = Array.from({ length: 24 }, (_, bit) =>
    Buffer.alloc(32).fill(1 << (bit % 8), bit >> 3, (bit >> 3) + 1),
  );
  const places = [Buffer.alloc(32), ...digests].map((sum) => MeasuredFile.ofSha256('/a', sum.toString('hex')).place);
  assert.equal(new Set(places).size, 25);
});

test('a file that is a row of others says what stands there', () => {
  const key = keyOf('0f'.repeat(32), '/bin/app');
  const home: FileHome = { rowKey: (row) => (row === 7 ? key : '') };
  const file = MeasuredFile.ofRow(home, 7, 3);
  assert.deepEqual(textOf(file), { ...textOf(MeasuredFile.ofSha256('/bin/app', '0f'.repeat(32))), place: 3 });
  assert.equal(file.home, home);
  assert.equal(file.buffer, undefined);
  assert.equal(MeasuredFile.ofSha256('/bin/app', '0f'.repeat(32)).home, undefined);
});
