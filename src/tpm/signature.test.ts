import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { test } from 'node:test';
import { softSignature } from '../../test/simulator/soft-key.ts';
import { ByteWriter } from '../bytes/byte-writer.ts';
import { ALG } from './constants.ts';
import { curveOf, namedCurve } from './public-key.ts';
import { isSignedBy, parseSignature } from './signature.ts';

const message = new Uint8Array(32).fill(5);
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });

const rsaOf = (algorithm: number, hash: number, length: number) =>
  new ByteWriter().u16(algorithm).u16(hash).sized16(new Uint8Array(length).fill(1)).finish();
const ecdsaOf = (r: number, s: number) =>
  new ByteWriter()
    .u16(0x0018)
    .u16(0x000d)
    .sized16(new Uint8Array(r).fill(2))
    .sized16(new Uint8Array(s).fill(3))
    .finish();

test('an RSA signature has up to 512 bytes, each number of an ECDSA signature up to 66', () => {
  const bytes = (length: number, value: number) => new Uint8Array(length).fill(value);
  assert.deepEqual(parseSignature(rsaOf(0x0014, 0x000b, 512)), {
    scheme: { name: 'rsassa', hash: 'sha256' },
    parts: [bytes(512, 1)],
  });
  assert.deepEqual(parseSignature(rsaOf(0x0016, 0x000c, 1)), {
    scheme: { name: 'rsapss', hash: 'sha384' },
    parts: [bytes(1, 1)],
  });
  assert.deepEqual(parseSignature(ecdsaOf(66, 65)), {
    scheme: { name: 'ecdsa', hash: 'sha512' },
    parts: [bytes(66, 2), bytes(65, 3)],
  });
  for (const long of [rsaOf(0x0014, 0x000b, 513), ecdsaOf(67, 66), ecdsaOf(66, 67)])
    assert.throws(() => parseSignature(long), { code: 'tpm.malformed' });
});

test('another hash or scheme is refused by its number', () => {
  const refused = (kind: string, value: number) => ({
    code: 'tpm.unsupported',
    details: { structure: 'TPMT_SIGNATURE', kind, value },
  });
  assert.throws(() => parseSignature(rsaOf(0x0014, 0x0004, 1)), refused('hash', 0x0004));
  assert.throws(() => parseSignature(rsaOf(0x001a, 0x000b, 1)), refused('scheme', 0x001a));
});

test('what is good as another kind of signature by the same key is none in the scheme that it states', () => {
  const der = new Uint8Array(sign('sha256', message, ec.privateKey));
  const stated = { scheme: { name: 'rsassa', hash: 'sha256' }, parts: [der] } as const;
  assert.equal(isSignedBy(stated, ec.publicKey, message), false);
  for (const [made, name] of [
    [ALG.RSASSA, 'rsapss'],
    [ALG.RSAPSS, 'rsassa'],
  ] as const) {
    const { parts } = parseSignature(softSignature(rsa.privateKey, made, 'sha256', message));
    assert.equal(isSignedBy({ scheme: { name, hash: 'sha256' }, parts }, rsa.publicKey, message), false);
  }
});

test('numbers as long as the curve’s order, or shorter, are read; one byte more in either is malformed', () => {
  for (const [curve, length] of [
    ['P-256', 32],
    ['P-384', 48],
    ['P-521', 66],
  ] as const) {
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: curve });
    const signed = (...lengths: readonly number[]) =>
      isSignedBy(
        { scheme: { name: 'ecdsa', hash: 'sha256' }, parts: lengths.map((one) => new Uint8Array(one).fill(1)) },
        publicKey,
        message,
      );
    assert.equal(signed(length, length), false, curve);
    assert.equal(signed(1, 1), false, curve);
    for (const lengths of [
      [length + 1, 1],
      [1, length + 1],
    ])
      assert.throws(() => signed(...lengths), { code: 'tpm.malformed', details: { structure: 'TPMT_SIGNATURE' } });
  }
});

test('the curves are P-256, P-384 and P-521, by the numbers of the Library and the names of OpenSSL', () => {
  const curves = [
    { id: 3, name: 'P-256', ecdhName: 'prime256v1', coordinateBytes: 32 },
    { id: 4, name: 'P-384', ecdhName: 'secp384r1', coordinateBytes: 48 },
    { id: 5, name: 'P-521', ecdhName: 'secp521r1', coordinateBytes: 66 },
  ] as const;
  for (const curve of curves) assert.deepEqual([curveOf(curve.id), namedCurve(curve.name)], [curve, curve]);
  for (const id of [0, 1, 2, 6, 0x10, 0x20]) assert.equal(curveOf(id), undefined);
});
