import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { toHex } from '../bytes/hex.ts';
import { authenticodeDigest, authenticodeSha256 } from './authenticode.ts';

/** A PE image whose fields are set one by one; every byte that is no field differs from its neighbours. */
interface Layout {
  readonly pe: number;
  readonly magic: number;
  readonly optionalBytes: number;
  readonly directories: number;
  readonly headerBytes: number;
  readonly sectionCount: number;
  readonly sections: readonly (readonly [start: number, size: number])[];
  readonly certificates: readonly [offset: number, size: number];
  readonly length: number;
}

const GOOD: Layout = {
  pe: 0x80,
  magic: 0x20b,
  optionalBytes: 112 + 5 * 8,
  directories: 5,
  headerBytes: 0x400,
  sectionCount: 2,
  sections: [
    [0x600, 0x80],
    [0x400, 0x200],
  ],
  certificates: [0x6f0, 0x10],
  length: 0x700,
};

const tableOf = ({ magic }: Layout) => (magic === 0x10b ? 96 : 112);
const OPTIONAL = 24;

function image(change: Partial<Layout> = {}): Buffer {
  const layout = { ...GOOD, ...change };
  const { pe, magic, optionalBytes, directories, headerBytes, sectionCount, sections, certificates, length } = layout;
  const bytes = Buffer.from(Uint8Array.from({ length }, (_, at) => at * 7 + 1));
  bytes.write('MZ');
  bytes.writeUInt32LE(pe, 60);
  bytes.write('PE\0\0', pe, 'latin1');
  bytes.writeUInt16LE(sectionCount, pe + 6);
  bytes.writeUInt16LE(optionalBytes, pe + 20);
  const optional = pe + OPTIONAL;
  bytes.writeUInt16LE(magic, optional);
  bytes.writeUInt32LE(headerBytes, optional + 60);
  bytes.writeUInt32LE(directories, optional + tableOf(layout) - 4);
  bytes.writeUInt32LE(certificates[0], optional + tableOf(layout) + 32);
  bytes.writeUInt32LE(certificates[1], optional + tableOf(layout) + 36);
  sections.forEach(([start, size], at) => {
    bytes.writeUInt32LE(size, optional + optionalBytes + 40 * at + 16);
    bytes.writeUInt32LE(start, optional + optionalBytes + 40 * at + 20);
  });
  return bytes;
}

/** What is hashed of an image without the ranges that are left out. */
function hashWithout(bytes: Buffer, ...ranges: readonly (readonly [start: number, end: number])[]): string {
  const kept = [...bytes.keys()].filter((at) => !ranges.some(([start, end]) => at >= start && at < end));
  return createHash('sha256')
    .update(Uint8Array.from(kept, (at) => bytes[at] ?? 0))
    .digest('hex');
}

const sum = (pe: number): [number, number] => [pe + OPTIONAL + 64, pe + OPTIONAL + 68];
const entry = (pe: number, table = 112): [number, number] => [pe + OPTIONAL + table + 32, pe + OPTIONAL + table + 40];
const SIGNATURES = [0x6f0, 0x700] as const;

const read: readonly (readonly [string, Partial<Layout>, (readonly [number, number])[]])[] = [
  ['signed', {}, [sum(0x80), entry(0x80), SIGNATURES]],
  ['of 32 bits', { magic: 0x10b, optionalBytes: 96 + 40 }, [sum(0x80), entry(0x80, 96), SIGNATURES]],
  ['whose PE header lies elsewhere', { pe: 0x44 }, [sum(0x44), entry(0x44), SIGNATURES]],
  ['with an empty certificate table', { certificates: [0x6f0, 0] }, [sum(0x80), entry(0x80)]],
  ['with four directories, so no certificate table', { directories: 4 }, [sum(0x80)]],
  ['whose optional header ends before the certificate entry', { optionalBytes: 112 + 39 }, [sum(0x80)]],
  [
    'whose headers end with the list of sections',
    {
      headerBytes: 0x180,
      sections: [
        [0x180, 0x280],
        [0x400, 0x2f0],
      ],
    },
    [sum(0x80), entry(0x80), SIGNATURES],
  ],
  [
    'whose headers are all of it',
    {
      headerBytes: 0x700,
      sections: [
        [0, 0],
        [0, 0],
      ],
      certificates: [0, 0],
    },
    [sum(0x80), entry(0x80)],
  ],
  [
    'whose empty sections lie anywhere',
    {
      sections: [
        [0x10, 0],
        [0x400, 0x2f0],
      ],
    },
    [sum(0x80), entry(0x80), SIGNATURES],
  ],
  [
    'whose sections end where the signatures begin',
    {
      sections: [
        [0x400, 0x200],
        [0x600, 0xf0],
      ],
    },
    [sum(0x80), entry(0x80), SIGNATURES],
  ],
  [
    'of one section that ends with the file',
    { sectionCount: 1, sections: [[0x400, 0x300]], certificates: [0x700, 0] },
    [sum(0x80), entry(0x80)],
  ],
];
for (const [name, change, without] of read) {
  test(`the image hash leaves out just checksum, certificate entry and signatures: an image ${name}`, () => {
    const bytes = image(change);
    assert.equal(toHex(authenticodeSha256(bytes)), hashWithout(bytes, ...without));
  });
}

test('the image hash is of the bank that is asked for', () => {
  const bytes = image({ directories: 0 });
  const [start, end] = sum(0x80);
  const hashed = Buffer.concat([bytes.subarray(0, start), bytes.subarray(end)]);
  assert.equal(toHex(authenticodeDigest(bytes, 'sha384')), createHash('sha384').update(hashed).digest('hex'));
});

test('up to 96 sections are read', () => {
  const many = (sectionCount: number) =>
    image({
      sectionCount,
      sections: Array(sectionCount).fill([0, 0]),
      headerBytes: 0x1200,
      length: 0x1300,
      certificates: [0, 0],
    });
  assert.equal(toHex(authenticodeSha256(many(96))), hashWithout(many(96), sum(0x80), entry(0x80)));
  assert.throws(() => authenticodeSha256(many(97)), {
    code: 'boot.image.malformed',
    details: { offset: 0x80 + 24 + 152 },
  });
});

const MALFORMED = 'boot.image.malformed';
const table = 0x80 + OPTIONAL + 152;
const refused: readonly (readonly [string, Buffer, string, number?])[] = [
  ['no MZ', Buffer.from(image()).fill('NZ', 0, 2), MALFORMED, 0],
  ['a PE header behind the end', patched(60, 0x701), MALFORMED, 0x701],
  ['a PE header at the end', patched(60, 0x700), 'bytes.truncated'],
  ['no PE', Buffer.from(image()).fill('PF', 0x80, 0x82), MALFORMED, 0x80],
  ['an optional header of another kind', patched(0x80 + OPTIONAL, 0x10b_0000 + 0x30b), MALFORMED, 0],
  ['headers longer than the file', image({ headerBytes: 0x701 }), MALFORMED, table],
  ['headers that end before the list of sections', image({ headerBytes: table + 79 }), MALFORMED, table],
  ['signatures that end before the file', image({ certificates: [0x6f0, 0x0f] }), MALFORMED, 0x6f0],
  ['signatures that end behind the file', image({ certificates: [0x6f0, 0x11] }), MALFORMED, 0x6f0],
  [
    'a section that begins in the headers',
    image({
      sections: [
        [0x3ff, 0x10],
        [0x600, 1],
      ],
    }),
    MALFORMED,
    0x3ff,
  ],
  [
    'a section of one byte in the headers',
    image({
      sections: [
        [0x3ff, 1],
        [0x600, 1],
      ],
    }),
    MALFORMED,
    0x3ff,
  ],
  [
    'sections that overlap',
    image({
      sections: [
        [0x400, 0x201],
        [0x600, 0x80],
      ],
    }),
    MALFORMED,
    0x600,
  ],
  [
    'a section that ends behind the file',
    image({
      sections: [
        [0x400, 0x200],
        [0x600, 0x101],
      ],
    }),
    MALFORMED,
    0x600,
  ],
  [
    'a section that reaches into the signatures',
    image({
      sections: [
        [0x400, 0x200],
        [0x600, 0xf1],
      ],
    }),
    MALFORMED,
    0x6f1,
  ],
];
for (const [name, bytes, code, offset] of refused) {
  test(`an image is refused for ${name}`, () => {
    assert.throws(() => authenticodeSha256(bytes), { code, ...(offset === undefined ? {} : { details: { offset } }) });
  });
}

function patched(offset: number, value: number): Buffer {
  const bytes = image();
  bytes.writeUInt32LE(value, offset);
  return bytes;
}

test('an image of 512 MiB is read, one of a byte more is not', () => {
  const bytes = new Uint8Array((512 << 20) + 1);
  assert.throws(() => authenticodeSha256(bytes), {
    code: MALFORMED,
    message: /is over 536870912/,
    details: { offset: 0 },
  });
  assert.throws(() => authenticodeSha256(bytes.subarray(1)), { code: MALFORMED, message: /begin with MZ/ });
});
