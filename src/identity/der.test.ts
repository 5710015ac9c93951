import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromHex, toHex } from '../bytes/hex.ts';
import { isLacreError } from '../lacre-error.ts';
import { DerReader, der, derBitString, derInteger, derOid, derTime, oidText, TAG } from './der.ts';

const malformed = (error: unknown) => isLacreError(error, 'identity.der.malformed');

test('lengths are read in their one DER form, and no other', () => {
  assert.equal(new DerReader(fromHex('0403010203'), 'x').read(TAG.octetString).length, 3);
  const long = der(TAG.octetString, new Uint8Array(200));
  assert.equal(toHex(long.subarray(0, 3)), '0481c8');
  assert.equal(new DerReader(long, 'x').read(TAG.octetString).length, 200);
  const longer = der(TAG.octetString, new Uint8Array(300));
  assert.equal(new DerReader(longer, 'x').read(TAG.octetString).length, 300);
  for (const hex of ['', '04', '0401', '0480', '04800000', '048101ff', '04820001ff', '0484000000017f', '0304ff']) {
    assert.throws(() => new DerReader(fromHex(hex), 'x').read(TAG.octetString), malformed, hex);
  }
});

test('a length is in as few bytes as it needs, and none is indefinite', () => {
  const filled = (head: string, size: number) => new Uint8Array([...fromHex(head), ...new Uint8Array(size)]);
  for (const [head, size] of [
    ['04817f', 0x7f],
    ['048200ff', 0xff],
    ['048300ffff', 0xffff],
    ['0480', 0x80],
    ['0480', 0x81],
    ['0481', 0x81],
  ] as const)
    assert.throws(() => new DerReader(filled(head, size), 'the thing').read(TAG.octetString), malformed, head);
  for (const [head, size] of [
    ['047f', 0x7f],
    ['048180', 0x80],
    ['04820100', 0x100],
    ['0483010000', 0x10000],
  ] as const)
    assert.equal(new DerReader(filled(head, size), 'x').read(TAG.octetString).length, size, head);
  assert.throws(() => new DerReader(fromHex('05'), 'the thing').enter(TAG.sequence), /^\S+ ?.*the thing is not DER/);
});

test('bytes after the last element are refused', () => {
  const reader = new DerReader(fromHex('040101ff'), 'x');
  reader.read(TAG.octetString);
  assert.ok(!reader.atEnd);
  assert.throws(() => reader.end(), malformed);
});

test('object identifiers survive both ways', () => {
  for (const oid of [
    '1.2.840.10045.4.3.2',
    '2.5.29.17',
    '1.3.6.1.5.5.7.3.1',
    '2.23.133.8.1',
    '2.999.3',
    '0.9.2342',
    '1.2.16384',
    '2.999.2097153',
    '1.2',
  ]) {
    assert.equal(oidText(new DerReader(derOid(oid), 'x').read(TAG.oid)), oid);
  }
});

test('an object identifier has one encoding: no padded part, none cut off, none empty', () => {
  for (const hex of ['', '80', '551d8f', '55801d0f', '551d800f', '8055', 'ff'])
    assert.throws(() => oidText(fromHex(hex)), malformed, hex);
  assert.equal(oidText(fromHex('551d0f')), '2.5.29.15');
  assert.equal(oidText(fromHex('5500')), '2.5.0');
  assert.equal(oidText(fromHex('27')), '0.39');
  assert.equal(oidText(fromHex('28')), '1.0');
  assert.equal(oidText(fromHex('814000')), '2.112.0');
});

test('what is written is at most 65535 bytes long, in the shortest form', () => {
  for (const [length, head] of [
    [0x7f, '047f'],
    [0x80, '048180'],
    [0xff, '0481ff'],
    [0x100, '04820100'],
    [0xffff, '0482ffff'],
  ] as const) {
    const written = der(TAG.octetString, new Uint8Array(length - 1), Uint8Array.of(7));
    assert.equal(toHex(written.subarray(0, head.length / 2)), head);
    const read = new DerReader(written, 'x').read(TAG.octetString);
    assert.deepEqual([read.length, read.at(-1)], [length, 7]);
  }
  assert.throws(() => der(TAG.octetString, new Uint8Array(0x10000)), malformed);
});

test('an element of another tag is left where it is', () => {
  const reader = new DerReader(fromHex('040101'), 'x');
  assert.equal(reader.readOptional(TAG.integer), undefined);
  assert.throws(() => reader.read(TAG.integer), malformed);
  assert.equal(reader.nextTag, TAG.octetString);
  assert.equal(toHex(reader.readWhole(TAG.octetString)), '040101');
  assert.deepEqual([reader.nextTag, reader.atEnd, reader.readOptional(TAG.octetString)], [-1, true, undefined]);
  reader.end();
});

test('integers are minimal and never negative', () => {
  assert.equal(toHex(derInteger(fromHex('00007f'))), '02017f');
  assert.equal(toHex(derInteger(fromHex('80'))), '02020080');
  assert.equal(toHex(derInteger(fromHex('0000'))), '020100');
  assert.equal(toHex(derInteger(fromHex(''))), '020100');
  assert.equal(toHex(derInteger(fromHex('7f00'))), '02027f00');
});

test('a bit string says how many bits are unused, none by default', () => {
  assert.equal(toHex(derBitString(fromHex('06'), 1)), '03020106');
  assert.equal(toHex(derBitString(fromHex('06'))), '03020006');
});

test('times are UTCTime until 2049 and GeneralizedTime from 2050 (RFC 5280, 4.1.2.5)', () => {
  assert.equal(Buffer.from(derTime(new Date('2049-12-31T23:59:59Z'))).toString('latin1', 2), '491231235959Z');
  assert.equal(Buffer.from(derTime(new Date('2050-01-01T00:00:00Z'))).toString('latin1', 2), '20500101000000Z');
  assert.equal(derTime(new Date('2050-01-01T00:00:00Z'))[0], 0x18);
  assert.equal(derTime(new Date('2049-12-31T23:59:59.999Z'))[0], TAG.utcTime);
  assert.equal(Buffer.from(derTime(new Date('1950-01-01T00:00:00Z'))).toString('latin1', 2), '500101000000Z');
  assert.equal(Buffer.from(derTime(new Date('1949-12-31T23:59:59Z'))).toString('latin1', 2), '19491231235959Z');
});
