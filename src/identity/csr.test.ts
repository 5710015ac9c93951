import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { isLacreError } from '../lacre-error.ts';
import { parseCsr, VerifiedCsr } from './csr.ts';
import { DerReader, der, derBitString, derOid, derSequence, TAG } from './der.ts';

const VECTORS = join(import.meta.dirname, '..', '..', 'vectors', 'identity', 'csr');

interface Expected {
  readonly verdict: 'accepted' | 'refused';
  readonly code?: string;
  readonly spkiBase64?: string;
}

const names = (JSON.parse(readFileSync(join(VECTORS, 'index.json'), 'utf8')) as { names: string[] }).names;

for (const name of names) {
  const expected = JSON.parse(readFileSync(join(VECTORS, `${name}.json`), 'utf8')) as Expected;
  test(`certificate request ${name} is ${expected.verdict}`, () => {
    const bytes = new Uint8Array(readFileSync(join(VECTORS, `${name}.der`)));
    if (expected.verdict === 'accepted') {
      const csr = parseCsr(bytes);
      assert.ok(VerifiedCsr.is(csr));
      assert.equal(Buffer.from(csr.publicKey).toString('base64'), expected.spkiBase64);
      return;
    }
    assert.throws(
      () => parseCsr(bytes),
      (error) => isLacreError(error) && error.code === expected.code,
    );
  });
}

test('there are vectors of both kinds', () => {
  assert.ok(names.length >= 8);
});

test('a request has 16 KiB at most, and one that is not DER is malformed', () => {
  assert.throws(() => parseCsr(new Uint8Array(16_384)), { code: 'identity.der.malformed' });
  assert.throws(() => parseCsr(new Uint8Array(16_385)), { code: 'identity.csr.invalid' });
});

test('version, algorithm and signature must be as they are accepted, even where the signature is right', () => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const spki = new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }));
  const request = (
    over: { version?: number[]; digest?: string; algorithm?: string; unused?: number; more?: number[] } = {},
  ) => {
    const { version = [0], digest = 'sha256', algorithm = '1.2.840.10045.4.3.2', unused = 0, more = [] } = over;
    const info = derSequence(
      der(TAG.integer, Uint8Array.from(version)),
      derSequence(),
      spki,
      der(0xa0),
      Uint8Array.from(more),
    );
    const signature = derBitString(new Uint8Array(sign(digest, info, privateKey)), unused);
    return derSequence(info, derSequence(derOid(algorithm)), signature);
  };
  assert.deepEqual(parseCsr(request()).publicKey, spki);
  assert.deepEqual(parseCsr(request({ digest: 'sha384', algorithm: '1.2.840.10045.4.3.3' })).publicKey, spki);
  const invalid = [
    request({ version: [1] }),
    request({ version: [0, 0] }),
    request({ unused: 1 }),
    request({ digest: 'sha384' }),
    request({ algorithm: '1.2.840.113549.1.1.11' }),
    request({ digest: 'sha512', algorithm: '1.2.840.10045.4.3.4' }),
  ];
  for (const [index, bad] of invalid.entries())
    assert.throws(() => parseCsr(bad), { code: 'identity.csr.invalid' }, String(index));
  assert.throws(() => parseCsr(request({ more: [5, 0] })), { code: 'identity.der.malformed' });
  const parts = new DerReader(request(), 'x').enter(TAG.sequence);
  const [info, algorithm] = [parts.readWhole(TAG.sequence), parts.readWhole(TAG.sequence)];
  const longer = derSequence(info, algorithm, parts.readWhole(TAG.bitString), Uint8Array.of(5, 0));
  assert.throws(() => parseCsr(longer), { code: 'identity.der.malformed' });
});

test('RSA keys sign with SHA-256 and SHA-384, and the key is given as it stands there', () => {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const spki = new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }));
  const info = derSequence(der(TAG.integer, Uint8Array.of(0)), derSequence(), spki);
  for (const [digest, oid] of [
    ['sha256', '1.2.840.113549.1.1.11'],
    ['sha384', '1.2.840.113549.1.1.12'],
  ] as const) {
    const signature = derBitString(new Uint8Array(sign(digest, info, privateKey)));
    const csr = parseCsr(derSequence(info, derSequence(derOid(oid)), signature));
    assert.ok(csr.key.equals(publicKey), oid);
  }
});

test('any one flipped bit of a request is refused', () => {
  const good = new Uint8Array(readFileSync(join(VECTORS, 'p256.der')));
  for (let bit = 0; bit < good.length * 8; bit += 3) {
    const bad = good.slice();
    bad[bit >> 3] = (bad[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    assert.throws(
      () => parseCsr(bad),
      (error) => isLacreError(error),
      `bit ${bit}`,
    );
  }
});

test('any truncation of a request is refused, and so is a look-alike of the class', () => {
  const good = new Uint8Array(readFileSync(join(VECTORS, 'p256.der')));
  for (let length = 0; length < good.length; length++) {
    assert.throws(
      () => parseCsr(good.subarray(0, length)),
      (error) => isLacreError(error),
    );
  }
  assert.ok(!VerifiedCsr.is({ publicKey: good, key: undefined }));
  for (const other of [undefined, null, 1, 'x']) assert.ok(!VerifiedCsr.is(other));
  assert.throws(() => Reflect.construct(VerifiedCsr, [Symbol('other'), good]), { code: 'identity.csr.invalid' });
  assert.ok(!VerifiedCsr.is(Object.create(VerifiedCsr.prototype)));
});
