import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromHex, toHex } from '../bytes/hex.ts';
import { isLacreError } from '../lacre-error.ts';
import { DerReader, der, derInteger, derOid, derTime, oidText, TAG } from './der.ts';

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

test('bytes after the last element are refused', () => {
  const reader = new DerReader(fromHex('040101ff'), 'x');
  reader.read(TAG.octetString);
  assert.ok(!reader.atEnd);
  assert.throws(() => reader.end(), malformed);
});

test('object identifiers survive both ways', () => {
  for (const oid of ['1.2.840.10045.4.3.2', '2.5.29.17', '1.3.6.1.5.5.7.3.1', '2.23.133.8.1', '2.999.3', '0.9.2342']) {
    assert.equal(oidText(new DerReader(derOid(oid), 'x').read(TAG.oid)), oid);
  }
});

test('integers are minimal and never negative', () => {
  assert.equal(toHex(derInteger(fromHex('00007f'))), '02017f');
  assert.equal(toHex(derInteger(fromHex('80'))), '02020080');
  assert.equal(toHex(derInteger(fromHex('0000'))), '020100');
});

test('times are UTCTime until 2049 and GeneralizedTime from 2050 (RFC 5280, 4.1.2.5)', () => {
  assert.equal(Buffer.from(derTime(new Date('2049-12-31T23:59:59Z'))).toString('latin1', 2), '491231235959Z');
  assert.equal(Buffer.from(derTime(new Date('2050-01-01T00:00:00Z'))).toString('latin1', 2), '20500101000000Z');
  assert.equal(derTime(new Date('2050-01-01T00:00:00Z'))[0], TAG.generalizedTime);
});
