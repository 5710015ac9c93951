import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { deflateRawSync } from 'node:zlib';
import fc from 'fast-check';
import { writeCabinet } from '../../test/simulator/cabinet-file.ts';
import { ByteWriter } from '../bytes/byte-writer.ts';
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
const named = (length: number) => Buffer.from(writeCabinet([{ name: 'x'.repeat(length), content: new Uint8Array(1) }]));
const FLAGS = 30;
const FOLDER = 36;
const ENTRIES = 44;
const block = (cabinet: Buffer) => cabinet.readUInt32LE(FOLDER);

const faults: readonly (readonly [string, RegExp, () => Buffer])[] = [
  ['no cabinet', /does not begin/, () => Buffer.alloc(64)],
  ['one that others follow', /one of several/, () => patch(plain(), (b) => b.writeUInt16LE(2, FLAGS))],
  ['one that follows others', /one of several/, () => patch(plain(), (b) => b.writeUInt16LE(1, FLAGS))],
  ['one cut in its header', /cabinet ends at 20/, () => plain().subarray(0, 20)],
  ['too many folders', /too many/, () => patch(plain(), (b) => b.writeUInt16LE(257, 26))],
  ['too many files', /too many/, () => patch(plain(), (b) => b.writeUInt16LE(20_001, 28))],
  ['more files than it has', /./, () => patch(plain(), (b) => b.writeUInt16LE(9, 28))],
  ['a file of a folder that is not there', /outside/, () => patch(plain(), (b) => b.writeUInt16LE(7, ENTRIES + 8))],
  ['a file beyond its folder', /outside/, () => patch(plain(), (b) => b.writeUInt32LE(1 << 30, ENTRIES))],
  ['LZX', /cabextract/, () => patch(zipped(), (b) => b.writeUInt16LE(0x1503, FOLDER + 6))],
  ['a block larger than blocks are', /more than/, () => patch(plain(), (b) => b.writeUInt16LE(32_769, block(b) + 6))],
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
  ['a name of 257 bytes', /does not end/, () => named(257)],
];
for (const [name, sentence, make] of faults) {
  test(`refused: ${name}`, () => {
    const told = codeOf(make());
    assert.ok(told.startsWith('tpm.cabinet.malformed'), told);
    assert.match(told, sentence);
    assert.equal(told.split('cannot be read').length, 2, told);
    assert.doesNotMatch(told, /\p{Cc}/u, 'no control character of a name reaches a terminal');
  });
}

test('a file over its bound is refused unread, a bomb before it is unpacked', () => {
  const limits = { bytes: 67_108_864, contentBytes: 134_217_728, folders: 256, files: 20_000 };
  assert.deepEqual(CABINET_LIMITS, limits);
  assert.match(codeOf(new Uint8Array(limits.bytes)), /does not begin/);
  assert.match(codeOf(new Uint8Array(limits.bytes + 1)), /are over/);
  const bomb = zipped();
  const packed = Buffer.concat([Buffer.from('CK'), deflateRawSync(Buffer.alloc(1 << 20))]);
  const at = block(bomb);
  const header = Buffer.alloc(8);
  header.writeUInt16LE(packed.length, 4);
  header.writeUInt16LE(32_768, 6);
  assert.match(codeOf(Buffer.concat([bomb.subarray(0, at), header, packed, bomb.subarray(at)])), /cannot be unpacked/);
});

test('as many files, folders and bytes of a name as may be are read', () => {
  assert.doesNotMatch(codeOf(patch(plain(), (b) => b.writeUInt16LE(256, 26))), /too many/);
  assert.doesNotMatch(codeOf(patch(plain(), (b) => b.writeUInt16LE(20_000, 28))), /too many/);
  assert.equal(readCabinet(named(256))[0]?.name.length, 256);
});

/** A cabinet of 32 KiB blocks of zeros in one folder, and no file. */
function ofZeros(blocks: number): Uint8Array {
  const packed = Buffer.concat([Buffer.from('CK'), deflateRawSync(Buffer.alloc(32_768))]);
  const block = new ByteWriter({ littleEndian: true }).u32(0).u16(packed.length).u16(32_768).bytes(packed).finish();
  const empty = patch(Buffer.from(writeCabinet([])), (b) => b.writeUInt16LE(blocks, FOLDER + 4));
  return Buffer.concat([empty, ...Array.from({ length: blocks }, () => block)]);
}

test('all blocks together unpack to 128 MiB at most', () => {
  assert.equal(codeOf(ofZeros(4096)), 'read');
  assert.match(codeOf(ofZeros(4097)), /tpm\.cabinet\.malformed: .*unpacks to more/);
});

/** Folders `first` and `second` with a file each. */
function twoFolders(attributes: number, reserved: { folder: number; block: number } | undefined): Uint8Array {
  const { folder: ofFolder, block: ofBlock } = reserved ?? { folder: 0, block: 0 };
  const little = () => new ByteWriter({ littleEndian: true });
  const contents = ['first', 'second'].map((text) => Buffer.from(text));
  const blocks = contents.map((content) =>
    little().u32(0).u16(content.length).u16(content.length).bytes(new Uint8Array(ofBlock)).bytes(content).finish(),
  );
  const entries = contents.map((content, folder) =>
    little()
      .u32(content.length)
      .u32(0)
      .u16(folder)
      .u32(0)
      .u16(attributes)
      .bytes(Buffer.from([0xc3, 0xa9, 0]))
      .finish(),
  );
  const filesOffset = 36 + (reserved === undefined ? 0 : 5) + 2 * (8 + ofFolder);
  let offset = filesOffset + Buffer.concat(entries).length;
  const folders = blocks.map((block) => {
    const folder = little().u32(offset).u16(1).u16(0).bytes(new Uint8Array(ofFolder)).finish();
    offset += block.length;
    return folder;
  });
  const header = little().bytes(Buffer.from('MSCF')).bytes(new Uint8Array(12)).u32(filesOffset).u32(0).u16(0x0103);
  header
    .u16(2)
    .u16(2)
    .u16(reserved === undefined ? 0 : 4)
    .u32(0);
  if (reserved !== undefined) header.u16(1).u8(ofFolder).u8(ofBlock).u8(0);
  return Buffer.concat([header.finish(), ...folders, ...entries, ...blocks]);
}

test('files of several folders are read, whatever is reserved; a name is UTF-8 where its attributes say so', () => {
  for (const reserved of [undefined, { folder: 0, block: 0 }, { folder: 5, block: 3 }]) {
    for (const [attributes, name] of [
      [0, 'Ã©'],
      [0x01, 'Ã©'],
      [0x20, 'Ã©'],
      [0x80 | 0x20, 'é'],
    ] as const) {
      const files = readCabinet(twoFolders(attributes, reserved));
      const seen = files.map((file) => [file.name, Buffer.from(file.content).toString()]);
      assert.deepEqual(seen, [
        [name, 'first'],
        [name, 'second'],
      ]);
    }
  }
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
