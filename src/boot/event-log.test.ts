import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { ByteWriter } from '../bytes/byte-writer.ts';
import { toHex } from '../bytes/hex.ts';
import { LacreError } from '../lacre-error.ts';
import { EVENT_LOG_LIMITS, parseEventLog } from './event-log.ts';
import { eventTypeName } from './event-type.ts';
import { replayEventLog } from './replayed-boot.ts';

const sealed = readFileSync(new URL('../../vectors/boot/ovmf-sealed.log', import.meta.url));
const HEADER_BYTES = 32 + 37;

function specId(algorithms: readonly (readonly [number, number])[], count = algorithms.length): Uint8Array {
  const writer = new ByteWriter({ littleEndian: true }).bytes(Buffer.from('Spec ID Event03\0')).u32(0);
  writer.bytes(Uint8Array.of(0, 2, 0, 2)).u32(count);
  for (const [algorithm, size] of algorithms) writer.u16(algorithm).u16(size);
  return writer.u8(0).finish();
}

function sha1Event(pcr: number, type: number, sha1: Uint8Array, data: Uint8Array): Uint8Array {
  return new ByteWriter({ littleEndian: true }).u32(pcr).u32(type).bytes(sha1).u32(data.length).bytes(data).finish();
}

function logOf(header: Uint8Array, ...events: Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat([sha1Event(0, 3, new Uint8Array(20), header), ...events]));
}

function event(
  pcr: number,
  type: number,
  digests: readonly (readonly [number, number])[],
  count = digests.length,
): Uint8Array {
  const writer = new ByteWriter({ littleEndian: true }).u32(pcr).u32(type).u32(count);
  for (const [algorithm, size] of digests) writer.u16(algorithm).bytes(new Uint8Array(size).fill(1));
  return writer.u32(2).bytes(Uint8Array.of(7, 8)).finish();
}

test('every event of a crypto-agile log is read, its header as event 0', () => {
  const events = parseEventLog(sealed);
  assert.deepEqual(
    events.slice(0, 3).map(({ index, pcr, typeName, data }) => ({ index, pcr, typeName, bytes: data.length })),
    [
      { index: 0, pcr: 0, typeName: 'EV_NO_ACTION', bytes: 37 },
      { index: 1, pcr: 0, typeName: 'EV_S_CRTM_VERSION', bytes: 2 },
      { index: 2, pcr: 0, typeName: 'EV_EFI_PLATFORM_FIRMWARE_BLOB', bytes: 16 },
    ],
  );
  assert.equal(toHex(events[1]?.digests.sha256 ?? new Uint8Array()).slice(0, 12), '96a296d224f2');
  assert.equal(events[1]?.digests.sha1?.length, 20);
});

test('a log without the header of a crypto-agile one is a SHA-1 log', () => {
  const log = Buffer.concat([
    sha1Event(0, 8, new Uint8Array(20).fill(3), Buffer.from('v1')),
    sha1Event(7, 4, new Uint8Array(20).fill(4), new Uint8Array(4)),
  ]);
  const events = parseEventLog(log);
  assert.deepEqual(
    events.map(({ pcr, typeName }) => `${pcr} ${typeName}`),
    ['0 EV_S_CRTM_VERSION', '7 EV_SEPARATOR'],
  );
  assert.deepEqual(Object.keys(events[1]?.digests ?? {}), ['sha1']);
  assert.throws(() => replayEventLog(events), { code: 'boot.log.bank' });
});

test('digests of unknown algorithms are skipped by the size that the header gives them', () => {
  const log = logOf(
    specId([
      [0x0012, 32],
      [0x000b, 32],
    ]),
    event(4, 4, [
      [0x0012, 32],
      [0x000b, 32],
    ]),
  );
  const [, only] = parseEventLog(log);
  assert.deepEqual(Object.keys(only?.digests ?? {}), ['sha256']);
  assert.deepEqual([...(only?.data ?? [])], [7, 8]);
});

test('types that the profile does not name are shown as numbers', () => {
  assert.equal(eventTypeName(0x80000003), 'EV_EFI_BOOT_SERVICES_APPLICATION');
  assert.equal(eventTypeName(0x00000500), '0x00000500');
  assert.equal(eventTypeName(0xffffffff), '0xffffffff');
});

const one = [[0x000b, 32]] as const;
const faults: readonly (readonly [string, Uint8Array, string])[] = [
  ['an empty log', new Uint8Array(), 'boot.log.malformed'],
  ['a log over its bound', new Uint8Array(EVENT_LOG_LIMITS.bytes + 1), 'boot.log.oversized'],
  ['a header that names no algorithm', logOf(specId([])), 'boot.log.malformed'],
  ['a header that names too many', logOf(specId([], 1_000_000)), 'boot.log.malformed'],
  ['a header that gives SHA-256 20 bytes', logOf(specId([[0x000b, 20]])), 'boot.log.malformed'],
  ['a header that gives an algorithm no bytes', logOf(specId([[0x0099, 0]])), 'boot.log.malformed'],
  ['a header that gives an algorithm too many', logOf(specId([[0x0099, 65]])), 'boot.log.malformed'],
  ['a header that names an algorithm twice', logOf(specId([...one, ...one])), 'boot.log.malformed'],
  ['bytes behind the header', logOf(new Uint8Array([...specId(one), 0])), 'bytes.trailing'],
  ['a PCR that no TPM has', logOf(specId(one), event(24, 4, one)), 'boot.log.malformed'],
  ['no PCR, but an event that is extended', logOf(specId(one), event(0xffff_ffff, 4, one)), 'boot.log.malformed'],
  ['more digests than algorithms', logOf(specId(one), event(0, 4, one, 2)), 'boot.log.malformed'],
  ['a digest of another algorithm', logOf(specId(one), event(0, 4, [[0x0004, 20]])), 'boot.log.malformed'],
  ['the same digest twice', logOf(specId([...one, [0x0004, 20]]), event(0, 4, [...one, ...one])), 'boot.log.malformed'],
  [
    'half an event behind the last',
    new Uint8Array([...logOf(specId(one), event(0, 4, one)), 0, 0, 0]),
    'bytes.truncated',
  ],
];
for (const [name, log, code] of faults) {
  test(`refused: ${name}`, () => {
    assert.throws(() => parseEventLog(log), { name: 'LacreError', code });
  });
}

test('more events than the bound are refused', () => {
  const small = new Uint8Array(
    Buffer.concat(
      Array.from({ length: EVENT_LOG_LIMITS.events + 1 }, () => sha1Event(0, 8, new Uint8Array(20), new Uint8Array())),
    ),
  );
  assert.throws(() => parseEventLog(small), { code: 'boot.log.oversized' });
});

/** Where the events of the sealed log begin, by what its parser is not asked: two digests of 20 and 32 bytes each. */
function eventOffsets(): number[] {
  const offsets = [HEADER_BYTES];
  for (const { data } of parseEventLog(sealed).slice(1))
    offsets.push((offsets.at(-1) ?? 0) + 12 + 22 + 34 + 4 + data.length);
  return offsets;
}

test('a log cut anywhere but between two events is refused', () => {
  const ends = new Set(eventOffsets());
  assert.ok(ends.has(sealed.length));
  for (let length = 1; length < sealed.length; length++) {
    const cut = sealed.subarray(0, length);
    if (ends.has(length)) assert.ok(parseEventLog(cut).length < ends.size);
    else assert.throws(() => parseEventLog(cut), LacreError, `cut at ${length}`);
  }
});

test('an inflated count or length is refused, wherever it stands', () => {
  const events = eventOffsets().slice(0, -1);
  const fields = [28, HEADER_BYTES - 13, ...events.flatMap((offset) => [offset + 8, offset + 12 + 22 + 34])];
  for (const field of fields) {
    for (const value of [0x7fff_ffff, 0xffff_ffff, 0xffff, sealed.length]) {
      const log = Buffer.from(sealed);
      log.writeUInt32LE(value, field);
      assert.throws(() => parseEventLog(log), LacreError, `${value} at ${field}`);
    }
  }
});

test('whatever the bytes, nothing but a LacreError is thrown', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
      attempt(bytes);
      attempt(Buffer.concat([sealed.subarray(0, HEADER_BYTES), bytes]));
    }),
    { numRuns: 500 },
  );
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(sealed.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 }),
      (changes) => {
        const log = Buffer.from(sealed);
        for (const [offset, value] of changes) log[offset] = value;
        attempt(log);
      },
    ),
    { numRuns: 1000 },
  );
});

/** Parses and replays; anything but a LacreError goes up. */
function attempt(bytes: Uint8Array): LacreError | Uint8Array {
  try {
    return replayEventLog(parseEventLog(bytes)).bootAggregate();
  } catch (error) {
    if (error instanceof LacreError) return error;
    throw error;
  }
}
