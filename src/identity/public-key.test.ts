import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { test } from 'node:test';
import type { ErrorCode } from '../error-code.ts';
import { isLacreError } from '../lacre-error.ts';
import { parsePublicKey } from './public-key.ts';

const spki = (key: KeyObject) => new Uint8Array(key.export({ format: 'der', type: 'spki' }));
const ec = (namedCurve: string) => spki(generateKeyPairSync('ec', { namedCurve }).publicKey);
const code = (wanted: ErrorCode) => (error: unknown) => isLacreError(error, wanted);

function rsa(n: bigint, e: number): Uint8Array {
  const bytes = (value: bigint) => {
    const hex = value.toString(16);
    return Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex').toString('base64url');
  };
  return spki(createPublicKey({ key: { kty: 'RSA', n: bytes(n), e: bytes(BigInt(e)) }, format: 'jwk' }));
}

test('P-256, P-384 and RSA of 2048 to 4096 bits are taken', () => {
  assert.equal(parsePublicKey(ec('P-256')).asymmetricKeyType, 'ec');
  assert.equal(parsePublicKey(ec('P-384')).asymmetricKeyDetails?.namedCurve, 'secp384r1');
  for (const bits of [2048n, 4096n])
    assert.equal(parsePublicKey(rsa(2n ** bits - 1n, 65_537)).asymmetricKeyType, 'rsa');
});

test('other kinds, sizes and exponents are refused', () => {
  const refused = code('identity.key.refused');
  for (const curve of ['P-521', 'secp256k1', 'P-224']) assert.throws(() => parsePublicKey(ec(curve)), refused, curve);
  for (const kind of ['ed25519', 'x25519'] as const) {
    const { publicKey } = generateKeyPairSync(kind as 'ed25519');
    assert.throws(() => parsePublicKey(spki(publicKey)), refused, kind);
  }
  assert.throws(() => parsePublicKey(rsa(2n ** 2047n - 1n, 65_537)), refused);
  assert.throws(() => parsePublicKey(rsa(2n ** 4097n - 1n, 65_537)), refused);
  assert.throws(() => parsePublicKey(rsa(2n ** 2048n - 1n, 3)), refused);
  assert.throws(() => parsePublicKey(rsa(2n ** 2048n - 1n, 65_538)), refused);
});

test('a compressed point is refused, and one off its curve is malformed', () => {
  const good = ec('P-256');
  const header = good.subarray(0, 26);
  const offCurve = good.slice();
  offCurve[good.length - 1] = (offCurve[good.length - 1] ?? 0) ^ 1;
  assert.throws(() => parsePublicKey(offCurve), code('identity.key.malformed'));
  const compressed = new Uint8Array([...header, 2, ...good.subarray(27, 59)]);
  compressed[1] = compressed.length - 2;
  compressed[24] = 34;
  assert.throws(() => parsePublicKey(compressed), code('identity.key.refused'));
});

test('what is no key is malformed', () => {
  const good = ec('P-256');
  for (const bad of [new Uint8Array(), good.subarray(0, 40), new Uint8Array([...good, 0])]) {
    assert.throws(() => parsePublicKey(bad), code('identity.der.malformed'));
  }
  assert.throws(() => parsePublicKey(new Uint8Array(2049)), code('identity.key.malformed'));
});
