import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { deflateRawSync } from 'node:zlib';
import fc from 'fast-check';
import { writeCabinet } from '../../test/simulator/cabinet-file.ts';
import { LacreError } from '../lacre-error.ts';
import { CABINET_LIMITS, readCabinet } from './cabinet.ts';

const FILES = [
  { name: 'Maker\\RootCA\\a.crt', content: new Uint8Array(randomBytes(50_000)) },
  { name: 'é.cer', content: new Uint8Array(Buffer.from('text '.repeat(20_000))) },
  { name: 'empty.der', content: new Uint8Array() },
];

function read(bytes: Uint8Array) {
  return readCabinet(bytes).map(({ name, content }) => ({ name, content: new Uint8Array(content) }));
}

function codeOf(bytes: Uint8Array): string {
  try {
    readCabinet(bytes);
    return 'read';
  } catch (error) {
    if (error instanceof LacreError) return `${error.code}: ${error.message}`;
    throw error;
  }
}

for (const compression of ['none', 'mszip'] as const) {
  for (const reserve of [undefined, 0, 8]) {
    test(`a cabinet of several blocks is read (${compression}, ${reserve ?? 'no'} bytes reserved)`, () => {
      const options = { compression, ...(reserve === undefined ? {} : { reserve }) };
      assert.deepEqual(read(writeCabinet(FILES, options)), FILES);
    });
  }
}

const plain = () => Buffer.from(writeCabinet(FILES, { compression: 'none' }));
const zipped = () => Buffer.from(writeCabinet(FILES));
const FLAGS = 30;
const FOLDER = 36;
const ENTRIES = 44;
const block = (cabinet: Buffer) => cabinet.readUInt32LE(FOLDER);

const faults: readonly (readonly [string, RegExp, () => Buffer])[] = [
  ['no cabinet', /does not begin/, () => Buffer.alloc(64)],
  ['one of several', /one of several/, () => patch(plain(), (b) => b.writeUInt16LE(1, FLAGS))],
  ['too many folders', /too many/, () => patch(plain(), (b) => b.writeUInt16LE(257, 26))],
  ['too many files', /too many/, () => patch(plain(), (b) => b.writeUInt16LE(20_001, 28))],
  ['more files than it has', /./, () => patch(plain(), (b) => b.writeUInt16LE(9, 28))],
  ['a file of a folder that is not there', /outside/, () => patch(plain(), (b) => b.writeUInt16LE(7, ENTRIES + 8))],
  ['a file beyond its folder', /outside/, () => patch(plain(), (b) => b.writeUInt32LE(1 << 30, ENTRIES))],
  ['LZX', /cabextract/, () => patch(zipped(), (b) => b.writeUInt16LE(0x1503, FOLDER + 6))],
  ['a block larger than blocks are', /more than/, () => patch(plain(), (b) => b.writeUInt16LE(40_000, block(b) + 6))],
  ['a block of another size', /another size/, () => patch(plain(), (b) => b.writeUInt16LE(9, block(b) + 6))],
  ['a block without its mark', /no MSZIP/, () => patch(zipped(), (b) => b.writeUInt16LE(0, block(b) + 8))],
  [
    'a block that cannot be unpacked',
    /unpacked/,
    () => patch(zipped(), (b) => b.fill(0xff, block(b) + 10, block(b) + 40)),
  ],
  [
    'a name that does not end',
    /does not end/,
    () => Buffer.from(writeCabinet([{ name: 'x'.repeat(300), content: new Uint8Array(1) }])),
  ],
];
for (const [name, sentence, make] of faults) {
  test(`refused: ${name}`, () => {
    const told = codeOf(make());
    assert.ok(told.startsWith('tpm.cabinet.malformed'), told);
    assert.match(told, sentence);
  });
}

test('a file over its bound is refused unread, a bomb before it is unpacked', () => {
  assert.match(codeOf(new Uint8Array(CABINET_LIMITS.bytes + 1)), /are over/);
  const bomb = zipped();
  const packed = Buffer.concat([Buffer.from('CK'), deflateRawSync(Buffer.alloc(1 << 20))]);
  const at = block(bomb);
  const header = Buffer.alloc(8);
  header.writeUInt16LE(packed.length, 4);
  header.writeUInt16LE(32_768, 6);
  assert.match(codeOf(Buffer.concat([bomb.subarray(0, at), header, packed, bomb.subarray(at)])), /cannot be unpacked/);
  const many = patch(plain(), (b) => b.writeUInt16LE(65_535, FOLDER + 4));
  const endless = Buffer.concat([
    many,
    ...Array.from({ length: 4_100 }, () => Buffer.concat([header, Buffer.alloc(packed.length)])),
  ]);
  assert.match(codeOf(endless), /tpm\.cabinet\.malformed/);
});

test('a cabinet cut anywhere, or with bytes changed, is read or refused by one error', () => {
  const cabinet = writeCabinet([{ name: 'a.crt', content: new Uint8Array(300).fill(7) }]);
  for (let length = 0; length < cabinet.length; length++) {
    assert.match(codeOf(cabinet.subarray(0, length)), /^tpm\.cabinet\.malformed/, `cut at ${length}`);
  }
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(cabinet.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 }),
      (changes) => {
        const changed = cabinet.slice();
        for (const [offset, value] of changes) changed[offset] = value;
        assert.match(codeOf(changed), /^(read|tpm\.cabinet\.malformed)/);
      },
    ),
    { numRuns: 2000 },
  );
});

function patch(bytes: Buffer, change: (bytes: Buffer) => void): Buffer {
  change(bytes);
  return bytes;
}
