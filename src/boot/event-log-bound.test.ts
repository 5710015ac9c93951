import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ByteWriter } from '../bytes/byte-writer.ts';
import { EVENT_LOG_LIMITS, parseEventLog } from './event-log.ts';

type Sizes = readonly (readonly [algorithm: number, size: number])[];

const HEADER = 32;
const ALL: Sizes = [
  [0x0004, 20],
  [0x000b, 32],
  [0x000c, 48],
  [0x000d, 64],
];
const little = () => new ByteWriter({ littleEndian: true });

function sha1Event(type: number, data: Uint8Array, pcr = 0): Uint8Array {
  return little().u32(pcr).u32(type).bytes(new Uint8Array(20).fill(4)).u32(data.length).bytes(data).finish();
}

function header(sizes: Sizes, { type = 3, vendor = 0, name = 'Spec ID Event03\0' } = {}): Uint8Array {
  const writer = little()
    .bytes(Buffer.from(name))
    .u32(0)
    .bytes(Uint8Array.of(0, 2, 0, 2))
    .u32(sizes.length);
  for (const [algorithm, size] of sizes) writer.u16(algorithm).u16(size);
  return sha1Event(type, writer.u8(vendor).bytes(new Uint8Array(vendor)).finish());
}

function event(pcr: number, type: number, sizes: Sizes): Uint8Array {
  const writer = little().u32(pcr).u32(type).u32(sizes.length);
  for (const [algorithm, size] of sizes) writer.u16(algorithm).bytes(new Uint8Array(size).fill(size));
  return writer.u32(3).bytes(Buffer.from('abc')).finish();
}

const logOf = (...parts: readonly Uint8Array[]) => new Uint8Array(Buffer.concat(parts));

test('digests of all four banks are kept, each with its length', () => {
  const [, only] = parseEventLog(logOf(header(ALL), event(7, 4, ALL)));
  const { sha1, sha256, sha384, sha512 } = only?.digests ?? {};
  const filled = (size: number) => new Uint8Array(size).fill(size);
  assert.deepEqual([sha1, sha256, sha384, sha512], [20, 32, 48, 64].map(filled));
  assert.deepEqual([only?.index, only?.pcr, only?.type, only?.typeName], [1, 7, 4, 'EV_SEPARATOR']);
  assert.deepEqual(only?.data, new Uint8Array(Buffer.from('abc')));
  for (const [algorithm, size] of ALL)
    for (const other of [size - 1, size + 1, 16])
      assert.throws(() => parseEventLog(header([[algorithm, other]])), { code: 'boot.log.malformed' });
});

test('an event may have some of the digests that the header names, or none', () => {
  const log = logOf(header(ALL), event(0, 4, ALL.slice(1, 2)), event(0, 4, []));
  assert.deepEqual(
    parseEventLog(log).map(({ digests }) => Object.keys(digests)),
    [['sha1'], ['sha256'], []],
  );
});

test('a header may have what its vendor adds, and up to 16 algorithms of up to 64 bytes', () => {
  for (const vendor of [0, 1, 255])
    assert.equal(parseEventLog(logOf(header(ALL, { vendor }), event(0, 4, ALL))).length, 2, `${vendor} bytes`);
  const many = (count: number): Sizes =>
    Array.from({ length: count }, (_, at) => [0x100 + at, Math.min(64, 1 + 5 * at)]);
  assert.equal(parseEventLog(logOf(header(many(16)), event(0, 4, many(16)))).length, 2);
  assert.throws(() => parseEventLog(header(many(17))), { code: 'boot.log.malformed' });
});

test('only an EV_NO_ACTION of that very name is the header of a crypto-agile log', () => {
  const first = event(0, 4, []);
  for (const other of [{ type: 4 }, { name: 'Spec ID Event02\0' }, { name: 'Spec ID Event03\x01' }])
    assert.throws(() => parseEventLog(logOf(header(ALL, other), first)), { code: 'bytes.truncated' });
  assert.equal(parseEventLog(logOf(header(ALL, { type: 4 }), sha1Event(8, Buffer.from('x')))).length, 2);
});

test('PCRs go up to 23; what extends nothing may have none', () => {
  for (const [pcr, type] of [[23, 4] as const, [0xffff_ffff, 3] as const])
    assert.equal(parseEventLog(logOf(header(ALL), event(pcr, type, ALL)))[1]?.pcr, pcr);
  const offset = header(ALL).length;
  for (const [pcr, type] of [[24, 4] as const, [24, 3] as const, [0xffff_fffe, 3] as const, [0xffff_ffff, 4] as const])
    assert.throws(() => parseEventLog(logOf(header(ALL), event(pcr, type, ALL))), {
      code: 'boot.log.malformed',
      details: { offset: offset + 8 },
    });
  assert.throws(() => parseEventLog(sha1Event(4, new Uint8Array(), 24)), { details: { offset: 8 } });
});

test('an error says where the log is wrong', () => {
  const { length } = header(ALL);
  const wrong: readonly (readonly [Uint8Array, number])[] = [
    [new Uint8Array(), 0],
    [logOf(header(ALL), event(0, 4, [...ALL, [0x000b, 32]])), length + 12],
    [logOf(header(ALL), event(0, 4, [[0x0099, 32]])), length + 14],
    [logOf(header(ALL), event(0, 4, [ALL[0] ?? [0, 0], ALL[0] ?? [0, 0]])), length + 12 + 22 + 2],
    [header([]), 28],
    [header([[0x000b, 20]]), HEADER],
    [
      header([
        [0x000b, 32],
        [0x000b, 32],
      ]),
      HEADER + 4,
    ],
  ];
  for (const [log, offset] of wrong)
    assert.throws(() => parseEventLog(log), { code: 'boot.log.malformed', details: { offset } }, `${offset}`);
});

test('a log of 1 MiB, and one of 10,000 events, is read; anything more is not', () => {
  const filled = (length: number) => sha1Event(8, new Uint8Array(length - 32));
  assert.equal(parseEventLog(filled(EVENT_LOG_LIMITS.bytes)).length, 1);
  assert.throws(() => parseEventLog(filled(EVENT_LOG_LIMITS.bytes + 1)), {
    code: 'boot.log.oversized',
    details: { size: 1_048_577, bound: 1_048_576 },
  });
  const events = (count: number) => logOf(...Array<Uint8Array>(count).fill(sha1Event(8, new Uint8Array())));
  assert.equal(parseEventLog(events(10_000)).at(-1)?.index, 9999);
  assert.throws(() => parseEventLog(events(10_001)), {
    code: 'boot.log.oversized',
    details: { size: 10_001, bound: 10_000 },
  });
});
