import assert from 'node:assert/strict';
import { createHash, createHmac, generateKeyPairSync, privateDecrypt } from 'node:crypto';
import { test } from 'node:test';
import { kdfa, kdfe, label } from './key-derivation.ts';
import { encryptOaep } from './oaep.ts';

const [key, u, v] = ['key', 'context u', 'v'].map((text) => new Uint8Array(Buffer.from(text)));
const number = (value: number) => Buffer.from([0, 0, value >> 8, value & 0xff]);

test('KDFa: HMAC over a counter from 1 on, the label with its zero, both contexts and the length in bits', () => {
  assert.ok(key && u && v);
  const block = (counter: number, bits: number) =>
    createHmac('sha256', key)
      .update(Buffer.concat([number(counter), Buffer.from('STORAGE\0'), u, v, number(bits)]))
      .digest();
  assert.deepEqual(Buffer.from(kdfa('sha256', key, 'STORAGE', u, v, 256)), block(1, 256));
  assert.deepEqual(Buffer.from(kdfa('sha256', key, 'STORAGE', u, v, 128)), block(1, 128).subarray(0, 16));
  const two = Buffer.concat([block(1, 384), block(2, 384)]).subarray(0, 48);
  assert.deepEqual(Buffer.from(kdfa('sha256', key, 'STORAGE', u, v, 384)), two);
});

test('KDFe: a hash over a counter from 1 on, the secret, the label with its zero and both coordinates', () => {
  assert.ok(key && u && v);
  const block = (counter: number) =>
    createHash('sha384')
      .update(Buffer.concat([number(counter), key, Buffer.from('IDENTITY\0'), u, v]))
      .digest();
  assert.deepEqual(Buffer.from(kdfe('sha384', key, 'IDENTITY', u, v, 384)), block(1));
  const two = Buffer.concat([block(1), block(2)]).subarray(0, 64);
  assert.deepEqual(Buffer.from(kdfe('sha384', key, 'IDENTITY', u, v, 512)), two);
  assert.deepEqual(Buffer.from(label('X')), Buffer.from('X\0'));
});

test('OAEP with a label is read by OpenSSL', () => {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  for (const hash of ['sha256', 'sha384'] as const) {
    const seed = new Uint8Array(createHash(hash).digest().length).fill(7);
    const encrypted = encryptOaep(publicKey, hash, 'IDENTITY', Uint8Array.of(1, 2, 3), seed);
    const options = { key: privateKey, oaepHash: hash, oaepLabel: Buffer.from('IDENTITY\0') };
    assert.deepEqual([...privateDecrypt(options, encrypted)], [1, 2, 3]);
  }
});
