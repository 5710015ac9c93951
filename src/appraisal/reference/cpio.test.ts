import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { CPIO_LIMITS, type CpioEntry, type CpioLimits, readInitrd } from './cpio.ts';
import { type CpioName, cpio, cpioEntry } from './cpio-fixture.ts';

const malformed = { code: 'appraisal.initrd.malformed' };
const over = { code: 'appraisal.initrd.oversized' };
const MAGIC_BYTES = 6;
const HEADER_BYTES = 110;

const read = (bytes: Uint8Array, limits: Partial<CpioLimits> = {}) => [
  ...readInitrd(bytes, { ...CPIO_LIMITS, ...limits }),
];
const names = (bytes: Uint8Array, limits: Partial<CpioLimits> = {}) => read(bytes, limits).map(({ name }) => name);
const facts = ({ name, mode, link, data }: CpioEntry) => ({ name, mode, link, data: data.toString() });

/** An archive of one name with a field of its header written over. */
function withField(index: number, text: string, name: CpioName = { name: 'a', data: 'x' }): Buffer {
  const archive = cpio(name);
  archive.write(text, MAGIC_BYTES + 8 * index, 'latin1');
  return archive;
}

test('an entry has its own name, mode, content and link', () => {
  const archive = cpio(
    { name: 'a\xe9b', mode: 0o100640, inode: 0xab, links: 2, device: [8, 1], data: 'first' },
    { name: 'c', mode: 0o120777, inode: 7, data: 'to' },
  );
  assert.deepEqual(read(archive).map(facts), [
    { name: 'a\xe9b', mode: 0o100640, link: '1,171,8,1', data: 'first' },
    { name: 'c', mode: 0o120777, link: undefined, data: 'to' },
  ]);
});

test('both magics of newc are read, no other, and nothing that is cut before its header ends', () => {
  for (const magic of ['070701', '070702']) {
    const archive = cpio({ name: 'a' });
    archive.write(magic);
    assert.deepEqual(names(archive), ['a']);
  }
  for (const magic of ['070700', '070703', '070707', '07070A']) {
    const archive = cpio({ name: 'a' });
    archive.write(magic);
    assert.throws(() => read(archive), malformed, magic);
  }
  for (const length of [1, MAGIC_BYTES, HEADER_BYTES - 1, HEADER_BYTES])
    assert.throws(() => read(cpioEntry({ name: 'TRAILER!!!' }).subarray(0, length)), malformed, String(length));
});

test('a field is eight hexadecimal digits, small or capital', () => {
  assert.deepEqual(read(withField(1, '000081ed')).map(facts), read(withField(1, '000081ED')).map(facts));
  for (const index of [1, 4, 6, 11]) {
    for (const text of ['x0000001', '0000000x', ' 0000001', '0x000001', '-0000001'])
      assert.throws(() => read(withField(index, text)), malformed, `field ${index}: ${text}`);
  }
  for (const index of [0, 7, 8]) {
    const linked = withField(index, '0000000x', { name: 'a', links: 2 });
    assert.throws(() => read(linked), malformed, `field ${index}`);
  }
});

test('a name ends in a zero, is not empty, and has as many bytes as it may', () => {
  const bound = CPIO_LIMITS.nameBytes;
  assert.equal(bound, 4096);
  assert.deepEqual(names(cpio({ name: 'x'.repeat(bound - 1) })), ['x'.repeat(bound - 1)]);
  assert.throws(() => read(cpio({ name: 'x'.repeat(bound) })), malformed);
  assert.throws(() => read(withField(11, '00000000')), malformed);
  const ends = withField(11, '00000000');
  ends[HEADER_BYTES - 1] = 0;
  assert.throws(() => read(ends), malformed, 'a zero before it is not its end');
  assert.throws(() => read(withField(11, '00000001')), malformed, 'a zero at its end');
  assert.deepEqual(names(cpio({ name: '' }, { name: 'a' })), ['', 'a']);
});

test('an entry ends where its archive does at the latest', () => {
  const trailer = cpioEntry({ name: 'TRAILER!!!', data: '1234' });
  assert.deepEqual(names(trailer), []);
  assert.throws(() => read(trailer.subarray(0, -1)), malformed);
});

test('archives begin at a multiple of four, what is compressed anywhere', () => {
  const [one, two] = [cpio({ name: 'a', data: 'x' }), cpio({ name: 'b' })];
  for (const gap of [0, 4, 508]) assert.deepEqual(names(Buffer.concat([one, Buffer.alloc(gap), two])), ['a', 'b']);
  for (const gap of [1, 2, 3, 5, 6])
    assert.throws(() => read(Buffer.concat([one, Buffer.alloc(gap), two])), malformed, String(gap));
  for (const gap of [0, 1, 2, 3])
    assert.deepEqual(names(Buffer.concat([one, Buffer.alloc(gap), gzipSync(two)])), ['a', 'b']);
  const shifted = Buffer.concat([Buffer.alloc(2), cpioEntry({ name: 'abc' }), one]).subarray(0, 2 + HEADER_BYTES + 4);
  assert.throws(() => read(Buffer.concat([shifted, two])), malformed, 'padded as if it began at one');
  const inside = Buffer.concat([Buffer.from('....'), one, two]).subarray(4);
  assert.deepEqual(names(inside), ['a', 'b'], 'a part of a larger buffer');
});

test('compression that is not read is named', () => {
  for (const [magic, name] of [
    ['fd377a585a00', 'xz'],
    ['425a68', 'bzip2'],
    ['5d0000', 'lzma'],
    ['02214c18', 'lz4'],
    ['04224d18', 'lz4'],
    ['894c5a4f', 'lzo'],
  ] as const) {
    const message = new RegExp(`: ${name} is not supported`);
    assert.throws(() => read(Buffer.from(`${magic}ff01`, 'hex')), { ...malformed, message }, name);
  }
  for (const bytes of ['1f8c', '28b52ffe', '425a', '0707'])
    assert.throws(
      () => read(Buffer.from(bytes, 'hex')),
      { ...malformed, message: /at byte 0: it is no cpio archive/ },
      bytes,
    );
});

test('compressed data that is cut or changed is damaged, with the cause', () => {
  for (const pack of [gzipSync, zstdCompressSync]) {
    const packed = pack(cpio({ name: 'a', data: 'content' }));
    assert.throws(
      () => read(packed.subarray(0, -1)),
      (error: Error & { code?: string }) => {
        assert.equal(error.code, malformed.code);
        return error.cause instanceof Error;
      },
    );
  }
});

test('names, archives and what they unpack to are counted to their bounds', () => {
  const [one, two] = [cpio({ name: 'a', data: 'x' }, { name: 'b' }), cpio({ name: 'c' })];
  const both = Buffer.concat([one, two]);
  assert.deepEqual(names(both, { entries: 3, segments: 2, nameBytes: 11 }), ['a', 'b', 'c']);
  assert.throws(() => read(both, { entries: 2 }), over);
  assert.throws(() => read(both, { segments: 1 }), over);
  assert.throws(() => read(both, { nameBytes: 10 }), malformed, 'the trailer has a name too');
  for (const pack of [gzipSync, zstdCompressSync]) {
    assert.deepEqual(names(pack(one), { bytes: one.length, segments: 2 }), ['a', 'b']);
    assert.throws(() => read(pack(one), { bytes: one.length - 1 }), over);
  }
});

test('an initrd holds 64 archives, 200,000 names and 1 GiB at most', () => {
  const archives = (count: number) => Buffer.concat(Array.from({ length: count }, () => cpio({ name: 'a' })));
  assert.equal(read(archives(64)).length, 64);
  assert.throws(() => read(archives(65)), over);
  const entry = cpioEntry({ name: 'a' });
  const many = (count: number) =>
    Buffer.concat([Buffer.alloc(count * entry.length, entry), cpioEntry({ name: 'TRAILER!!!' })]);
  const count = (bytes: Uint8Array) => {
    let seen = 0;
    for (const { name } of readInitrd(bytes)) seen += name.length;
    return seen;
  };
  assert.equal(count(many(200_000)), 200_000);
  assert.throws(() => count(many(200_001)), over);
  assert.equal(CPIO_LIMITS.bytes, 1024 ** 3);
});
