import assert from 'node:assert/strict';
import { createPrivateKey, createPublicKey, sign, verify } from 'node:crypto';
import { test } from 'node:test';
import { fromHex, toHex } from '../bytes/hex.ts';
import { generateP256Key, isScalar } from './p256-key.ts';

test('a key is encoded as OpenSSL encodes it, also where its scalar begins with a zero', () => {
  let shorter = 0;
  // One scalar in 256 is shorter: none among so many is as good as impossible (2^-45).
  for (let count = 0; count < 8_000; count += 1) {
    const { spki, pkcs8 } = generateP256Key();
    if (pkcs8[36] !== 0 && count > 50) continue;
    shorter += Number(pkcs8[36] === 0);
    const key = createPrivateKey({ key: Buffer.from(pkcs8), format: 'der', type: 'pkcs8' });
    assert.equal(key.asymmetricKeyDetails?.namedCurve, 'prime256v1');
    assert.equal(toHex(pkcs8), key.export({ format: 'der', type: 'pkcs8' }).toString('hex'));
    assert.equal(toHex(spki), createPublicKey(key).export({ format: 'der', type: 'spki' }).toString('hex'));
  }
  assert.ok(shorter > 0);
});

test('no key comes twice, and what the private one signs the public one verifies', () => {
  const keys = Array.from({ length: 100 }, generateP256Key);
  assert.equal(new Set(keys.map(({ spki }) => toHex(spki))).size, 100);
  assert.equal(new Set(keys.map(({ pkcs8 }) => toHex(pkcs8))).size, 100);
  const data = Buffer.from('signed');
  for (const { spki, pkcs8 } of keys.slice(0, 10)) {
    const privateKey = createPrivateKey({ key: Buffer.from(pkcs8), format: 'der', type: 'pkcs8' });
    const publicKey = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
    assert.ok(verify('sha256', data, publicKey, sign('sha256', data, privateKey)));
  }
});

test('a scalar is from 1 to the order less one', () => {
  const last = fromHex('ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632550');
  const scalar = (end: Uint8Array) => Uint8Array.of(...new Uint8Array(32 - end.length), ...end);
  assert.ok(isScalar(scalar(Uint8Array.of(1))));
  assert.ok(isScalar(last));
  assert.equal(isScalar(new Uint8Array(32)), false);
  assert.equal(isScalar(Uint8Array.of(...last.subarray(0, 31), 0x51)), false);
  assert.equal(isScalar(new Uint8Array(32).fill(0xff)), false);
});
