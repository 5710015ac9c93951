import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { isLacreError } from '../lacre-error.ts';
import { parseCsr, VerifiedCsr } from './csr.ts';

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
  assert.ok(!VerifiedCsr.is(Object.create(VerifiedCsr.prototype)));
});
