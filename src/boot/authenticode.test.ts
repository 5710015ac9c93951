import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { toHex } from '../bytes/hex.ts';
import { sha256 } from '../bytes/sha256.ts';
import { LacreError } from '../lacre-error.ts';
import { authenticodeSha256 } from './authenticode.ts';

const PE = 0x80;
const OPTIONAL = PE + 24;
const CHECKSUM = OPTIONAL + 64;
const HEADERS = 0x400;

interface ImageOptions {
  readonly magic?: 0x10b | 0x20b;
  readonly sections?: readonly (readonly [start: number, size: number])[];
  /** Bytes before the signatures. */
  readonly size?: number;
  readonly signature?: Uint8Array;
}

/** A PE image whose bytes all differ from their neighbours', and the offset of its certificate entry. */
function image({
  magic = 0x20b,
  sections = [
    [HEADERS, 0x200],
    [0x600, 0x100],
  ],
  size = 0x700,
  signature,
}: ImageOptions = {}) {
  const bytes = Buffer.alloc(size + (signature?.length ?? 0));
  for (let i = HEADERS; i < size; i++) bytes[i] = (i * 7) & 0xff;
  const directories = OPTIONAL + (magic === 0x20b ? 112 : 96);
  bytes.write('MZ');
  bytes.writeUInt32LE(PE, 0x3c);
  bytes.write('PE\0\0', PE, 'latin1');
  bytes.writeUInt16LE(sections.length, PE + 6);
  bytes.writeUInt16LE(directories + 128 - OPTIONAL, PE + 20);
  bytes.writeUInt16LE(magic, OPTIONAL);
  bytes.writeUInt32LE(HEADERS, OPTIONAL + 60);
  bytes.writeUInt32LE(0xc0ffee, CHECKSUM);
  bytes.writeUInt32LE(16, directories - 4);
  const entry = directories + 32;
  if (signature !== undefined) {
    bytes.writeUInt32LE(size, entry);
    bytes.writeUInt32LE(signature.length, entry + 4);
    bytes.set(signature, size);
  }
  sections.forEach(([start, length], i) => {
    bytes.writeUInt32LE(length, directories + 128 + i * 40 + 16);
    bytes.writeUInt32LE(start, directories + 128 + i * 40 + 20);
  });
  return { bytes, entry };
}

for (const magic of [0x10b, 0x20b] as const) {
  test(`the hash leaves out checksum, certificate entry and signatures, and nothing else (0x${magic.toString(16)})`, () => {
    const { bytes, entry } = image({ magic });
    const expected = sha256(
      bytes.subarray(0, CHECKSUM),
      bytes.subarray(CHECKSUM + 4, entry),
      bytes.subarray(entry + 8),
    );
    assert.deepEqual(authenticodeSha256(bytes), expected);
    const signed = image({ magic, signature: new Uint8Array(24).fill(9) });
    assert.deepEqual(authenticodeSha256(signed.bytes), expected, 'a signed image has the hash of the unsigned one');
    for (let i = 0; i < bytes.length; i++) {
      const covered = !(i >= CHECKSUM && i < CHECKSUM + 4) && !(i >= entry && i < entry + 8);
      const changed = Buffer.from(bytes);
      changed[i] = (changed[i] ?? 0) ^ 0x55;
      const same = hashOrCode(changed) === toHex(expected);
      if (covered) assert.ok(!same, `byte ${i} is covered`);
      else if (i < CHECKSUM + 4) assert.ok(same, `byte ${i} is not covered`);
    }
  });
}

test('sections count in the order of the file, and bytes behind the last are covered', () => {
  const forward = image({
    sections: [
      [HEADERS, 0x200],
      [0x600, 0x80],
    ],
  }).bytes;
  const backward = image({
    sections: [
      [0x600, 0x80],
      [HEADERS, 0x200],
    ],
  }).bytes;
  assert.equal(forward.length, 0x700);
  assert.notEqual(toHex(authenticodeSha256(forward)), toHex(authenticodeSha256(backward)), 'the headers differ');
  const trailing = Buffer.from(forward);
  trailing[0x6ff] = (trailing[0x6ff] ?? 0) ^ 1;
  assert.notEqual(toHex(authenticodeSha256(forward)), toHex(authenticodeSha256(trailing)));
});

const patch = (offset: number, value: number, options?: ImageOptions) => {
  const { bytes } = image(options);
  bytes.writeUInt32LE(value >>> 0, offset);
  return bytes;
};
const table = OPTIONAL + 112 + 128;
const refused: readonly (readonly [string, Uint8Array])[] = [
  ['no bytes', new Uint8Array()],
  ['no MZ', patch(0, 0)],
  ['a PE header outside', patch(0x3c, 0x7fff_ffff)],
  ['no PE', patch(PE, 0)],
  ['an unknown optional header', patch(OPTIONAL, 0x30b)],
  ['headers longer than the file', patch(OPTIONAL + 60, 0x10000)],
  ['headers that end before the sections are listed', patch(OPTIONAL + 60, 0x100)],
  ['a section outside', patch(table + 16, 0x7fff_ffff)],
  [
    'sections that overlap',
    image({
      sections: [
        [HEADERS, 0x200],
        [0x500, 0x100],
      ],
    }).bytes,
  ],
  ['a section in the headers', image({ sections: [[0x200, 0x100]] }).bytes],
  ['signatures that are not the end', patch(OPTIONAL + 112 + 32, 0x500, { signature: new Uint8Array(8) })],
  [
    'signatures over a section',
    (() => {
      const { bytes, entry } = image({ size: 0x700 });
      bytes.writeUInt32LE(0x500, entry);
      bytes.writeUInt32LE(0x200, entry + 4);
      return bytes;
    })(),
  ],
];
for (const [name, bytes] of refused) {
  test(`refused: ${name}`, () => {
    assert.throws(
      () => authenticodeSha256(bytes),
      (error) => error instanceof LacreError && ['boot.image.malformed', 'bytes.truncated'].includes(error.code),
    );
  });
}

test('whatever the bytes, nothing but a LacreError is thrown', () => {
  const { bytes } = image({ signature: new Uint8Array(24) });
  for (let length = 0; length < bytes.length; length += 3) hashOrCode(bytes.subarray(0, length));
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(HEADERS - 1), fc.nat(255)), { minLength: 1, maxLength: 12 }), (changes) => {
      const changed = Buffer.from(bytes);
      for (const [offset, value] of changes) changed[offset] = value;
      hashOrCode(changed);
    }),
    { numRuns: 2000 },
  );
});

/** A vmlinuz of Debian's 6.12.115 cloud kernel: what OVMF measured when QEMU started it is in vectors/boot/ovmf-sealed. */
const kernelPath = process.env['LACRE_TEST_VMLINUZ'] ?? '';
const skip = existsSync(kernelPath) ? false : 'LACRE_TEST_VMLINUZ names no vmlinuz-6.12.115+deb12-cloud-amd64';
test('the hash of a real kernel is what firmware measured', { skip }, () => {
  const vector = JSON.parse(readFileSync(new URL('../../vectors/boot/ovmf-sealed.json', import.meta.url), 'utf8'));
  const kernel = readFileSync(kernelPath);
  // QEMU fills in the loader's fields of the kernel's setup header (x86 boot protocol) before firmware sees the image.
  const initrdBytes = 45_651;
  const memoryBytes = 1536 << 20;
  kernel[0x210] = 0xb0; // type_of_loader
  kernel[0x211] = (kernel[0x211] ?? 0) | 0x80; // loadflags: CAN_USE_HEAP
  kernel.writeUInt32LE((memoryBytes - 0x28000 - 1 - initrdBytes) & ~4095, 0x218); // ramdisk_image
  kernel.writeUInt32LE(initrdBytes, 0x21c); // ramdisk_size
  kernel.writeUInt32LE(0x20000 - 0x10000 - 0x200, 0x224); // heap_end_ptr
  kernel.writeUInt32LE(0x20000, 0x228); // cmd_line_ptr
  assert.equal(toHex(authenticodeSha256(kernel)), vector.kernelSha256Hex);
});

function hashOrCode(bytes: Uint8Array): string {
  try {
    return toHex(authenticodeSha256(bytes));
  } catch (error) {
    if (error instanceof LacreError) return error.code;
    throw error;
  }
}

test('an image over its bound is refused before it is read', () => {
  assert.throws(() => authenticodeSha256(new Uint8Array((512 << 20) + 1)), {
    code: 'boot.image.malformed',
    message: /is over/,
  });
});
