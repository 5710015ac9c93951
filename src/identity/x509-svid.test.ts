import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { isLacreError } from '../lacre-error.ts';
import { VerifiedX509Svid, verifyX509Svid } from './x509-svid.ts';

const VECTORS = join(import.meta.dirname, '..', '..', 'vectors', 'identity', 'x509-svid');

interface Vector {
  readonly verdict: 'accepted' | 'refused';
  readonly why: string;
  readonly code?: string;
  readonly spiffeId?: string;
  readonly now: string;
  readonly chain: readonly string[];
  readonly bundle: readonly string[];
}

function input(name: string) {
  const vector = JSON.parse(readFileSync(join(VECTORS, `${name}.json`), 'utf8')) as Vector;
  const bytes = (text: string) => new Uint8Array(Buffer.from(text, 'base64'));
  const { chain, bundle, now } = vector;
  return { vector, chain: chain.map(bytes), bundle: bundle.map(bytes), now: new Date(now) };
}

const { names } = JSON.parse(readFileSync(join(VECTORS, 'index.json'), 'utf8')) as { names: string[] };

for (const name of names) {
  const { vector, ...given } = input(name);
  test(`${name} is ${vector.verdict}: ${vector.why}`, () => {
    if (vector.verdict === 'accepted') {
      const svid = verifyX509Svid(given);
      assert.ok(VerifiedX509Svid.is(svid));
      assert.equal(svid.spiffeId.uri, vector.spiffeId);
      return;
    }
    assert.throws(
      () => verifyX509Svid(given),
      (error) => isLacreError(error) && error.code === vector.code,
    );
  });
}

test('well-formed DER that is no certificate by RFC 5280 is malformed', () => {
  const { vector: _, ...given } = input('good');
  const [leaf] = given.chain;
  assert.ok(leaf);
  const changed = (find: string, put: string) => {
    const hex = Buffer.from(leaf).toString('hex');
    assert.equal(hex.split(find).length, 2, `${find} once in the leaf`);
    return new Uint8Array(Buffer.from(hex.replace(find, put), 'hex'));
  };
  const malformed = [
    changed('a003020102', 'a003020101'), // version 2
    changed('0603551d25', '0603551d0f'), // the key usage twice
    new Uint8Array(64 * 1024),
  ];
  for (const bad of malformed)
    assert.throws(() => verifyX509Svid({ ...given, chain: [bad] }), { code: 'identity.certificate.malformed' });
});

test('any one changed byte of a leaf is refused', () => {
  const { vector: _, ...given } = input('good');
  const [leaf] = given.chain;
  assert.ok(leaf);
  for (let at = 0; at < leaf.length; at++) {
    const bad = leaf.slice();
    bad[at] = (bad[at] ?? 0) ^ (1 << (at % 8));
    assert.throws(
      () => verifyX509Svid({ ...given, chain: [bad] }),
      (error) => isLacreError(error),
      `byte ${at}`,
    );
  }
});

test('a look-alike of a verified SVID is none', () => {
  const { vector: _, ...given } = input('good');
  assert.ok(!VerifiedX509Svid.is({ ...verifyX509Svid(given) }));
  assert.ok(!VerifiedX509Svid.is(Object.create(VerifiedX509Svid.prototype)));
});
