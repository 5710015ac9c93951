import assert from 'node:assert/strict';
import { test } from 'node:test';
import { legacyEntry, listEntry } from '../../test/simulator/hostile-entry.ts';
import { ByteWriter } from '../bytes/byte-writer.ts';
import { Frame } from './frame.ts';

/** The start of an entry whose template digest has `width` bytes; the name may be shorter than it is said to be. */
function head(width: number, nameBytes: number, name: string): Buffer {
  const writer = new ByteWriter({ littleEndian: true }).u32(10).bytes(new Uint8Array(width).fill(9)).u32(nameBytes);
  return Buffer.from(writer.bytes(Buffer.from(name)).finish());
}

function entry(width: number, template: string, dataBytes: number): Buffer {
  const length = new ByteWriter({ littleEndian: true }).u32(dataBytes).finish();
  return Buffer.concat([head(width, template.length, template), length, Buffer.alloc(dataBytes)]);
}

/** Of an entry that comes byte by byte: from how many bytes on a reader is told that it needs how many. */
function needs(bytes: Buffer, list: number): [number, number][] {
  const steps: [number, number][] = [];
  for (let length = 0; length <= bytes.length; length++) {
    const needed = new Frame().read(bytes.subarray(0, length), 0, list);
    if (steps.at(-1)?.[1] !== needed) steps.push([length, needed]);
  }
  return steps;
}

const legacy = (width: number) =>
  Buffer.concat([head(width, 3, 'ima'), Buffer.from(legacyEntry('/bin/a')).subarray(31)]);
const told: readonly (readonly [string, Buffer, number, [number, number][]])[] = [
  [
    'the first one',
    entry(20, 'ima-ng', 50),
    0,
    [
      [0, 31],
      [31, 38],
      [38, 88],
      [88, 0],
    ],
  ],
  [
    'a later one',
    entry(20, 'ima-ng', 50),
    1000,
    [
      [0, 28],
      [28, 38],
      [38, 88],
      [88, 0],
    ],
  ],
  [
    'one without data',
    entry(20, 'evm-sig', 0),
    1000,
    [
      [0, 28],
      [28, 39],
      [39, 0],
    ],
  ],
  [
    'the oldest template',
    legacy(20),
    1000,
    [
      [0, 28],
      [28, 35],
      [35, 55],
      [55, 61],
      [61, 0],
    ],
  ],
  [
    'the bank SHA-256',
    entry(32, 'evm-sig', 50),
    0,
    [
      [0, 31],
      [31, 43],
      [43, 51],
      [51, 101],
      [101, 0],
    ],
  ],
  [
    'the oldest template of that bank',
    legacy(32),
    0,
    [
      [0, 31],
      [31, 43],
      [43, 47],
      [47, 67],
      [67, 73],
      [73, 0],
    ],
  ],
  [
    'the bank SHA-384',
    entry(48, 'ima-ng', 5),
    0,
    [
      [0, 31],
      [31, 43],
      [43, 59],
      [59, 66],
      [66, 71],
      [71, 0],
    ],
  ],
  [
    'the bank SHA-512',
    entry(64, 'ima-ng', 5),
    0,
    [
      [0, 31],
      [31, 43],
      [43, 59],
      [59, 75],
      [75, 82],
      [82, 87],
      [87, 0],
    ],
  ],
];
for (const [name, bytes, list, expected] of told) {
  test(`an entry waits for no byte more than it has: ${name}`, () => assert.deepEqual(needs(bytes, list), expected));
}

test("only a name that begins as the kernel's, of a length it may have, tells how long template digests are", () => {
  const names: readonly (readonly [number, string, boolean])[] = [
    [2, 'ima', false],
    [3, 'ima', true],
    [7, 'evm', true],
    [64, 'ima', true],
    [65, 'ima', false],
    [6, 'imb', false],
    [7, 'xvm', false],
  ];
  for (const [nameBytes, name, tells] of names) {
    const needed = new Frame().read(head(32, nameBytes, name), 0, 0);
    assert.equal(needed, tells ? 40 + nameBytes + 4 : 59, `${nameBytes} ${name}`);
  }
});

test('a template name is read anew wherever it differs from the one before', () => {
  const frame = new Frame();
  const changed = [...'ima-sig'].map((_, at) => `${'ima-sig'.slice(0, at)}x${'ima-sig'.slice(at + 1)}`);
  for (const name of [...changed, 'ima-si', 'ima-sigv', 'ima', 'ima-sigv2']) {
    for (const template of ['ima-sig', name]) {
      assert.equal(frame.read(Buffer.concat([entry(20, template, 0), Buffer.alloc(300)]), 0, 1000), 0);
      assert.equal(frame.templateName, template);
    }
  }
});

test('what is hashed as it stands is neither a violation nor of the oldest template', () => {
  const frame = new Frame();
  for (const [bytes, plain] of [
    [listEntry(), true],
    [listEntry({ violation: true }), false],
    [legacyEntry('/bin/a'), false],
  ] as const) {
    assert.equal(frame.read(Buffer.from(bytes), 0, 0), 0);
    assert.equal(frame.isPlain, plain);
  }
});
