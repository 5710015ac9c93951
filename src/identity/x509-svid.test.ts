import assert from 'node:assert/strict';
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { isLacreError } from '../lacre-error.ts';
import { OID } from './certificate-fields.ts';
import {
  authority,
  extensionOf,
  type Holder,
  makeCertificate,
  NOT_AFTER,
  NOT_BEFORE,
  SIGNS_CERTIFICATES,
  SIGNS_DATA,
  uris,
} from './certificate-fixture.ts';
import { derOid, derSequence } from './der.ts';
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

const CA = [authority(), SIGNS_CERTIFICATES];
const LEAF = [SIGNS_DATA, uris('spiffe://a.example/x')];
const root = makeCertificate('root', { extensions: [...CA, uris('spiffe://a.example')] });

function verdict(chain: readonly Holder[], now = new Date('2026-06-01T00:00:00Z'), bundle = [root]): string {
  const der = (holders: readonly Holder[]) => holders.map(({ certificate }) => certificate);
  try {
    return verifyX509Svid({ chain: der(chain), bundle: der(bundle), now }).spiffeId.uri;
  } catch (error) {
    assert.ok(isLacreError(error));
    return error.code;
  }
}

test('a certificate holds from its first to its last second, and so does every one above it', () => {
  const at = (time: Date, ms: number) => new Date(time.getTime() + ms);
  const leaf = makeCertificate('leaf', { issuer: root, extensions: LEAF });
  const times = [at(NOT_BEFORE, -1), NOT_BEFORE, NOT_AFTER, at(NOT_AFTER, 1)];
  const good = 'spiffe://a.example/x';
  assert.deepEqual(
    times.map((now) => verdict([leaf], now)),
    ['identity.svid.expired', good, good, 'identity.svid.expired'],
  );
  const [notBefore, notAfter] = [new Date('2026-05-01T00:00:00Z'), new Date('2026-07-01T00:00:00Z')];
  const short = makeCertificate('root', { extensions: CA, notBefore, notAfter });
  const longer = makeCertificate('leaf', { issuer: short, extensions: LEAF });
  assert.deepEqual(
    [at(notBefore, -1), notBefore, notAfter, at(notAfter, 1)].map((now) => verdict([longer], now, [short])),
    ['identity.svid.untrusted', good, good, 'identity.svid.untrusted'],
  );
});

test('who signs must be an authority that may, in the same trust domain, and known in all its critical extensions', () => {
  const under = (...extensions: Uint8Array[]) => {
    const issuer = makeCertificate('issuer', { extensions });
    return verdict([makeCertificate('leaf', { issuer, extensions: LEAF })], undefined, [issuer]);
  };
  assert.equal(under(...CA), 'spiffe://a.example/x', 'a root without a SPIFFE ID is believed for any');
  assert.equal(under(...CA, uris('spiffe://a.example')), 'spiffe://a.example/x');
  const unknown = extensionOf('1.2.3.4', true, Uint8Array.of(5, 0));
  for (const wrong of [
    [authority()],
    [SIGNS_CERTIFICATES],
    [authority(), SIGNS_DATA],
    [...CA, unknown],
    [...CA, uris('spiffe://b.example')],
    [...CA, uris('spiffe:')],
  ])
    assert.equal(under(...wrong), 'identity.svid.untrusted');
});

test('a chain has four certificates at most, a way through it is found in any order, and a loop ends', () => {
  const a = makeCertificate('a', { issuer: root, extensions: CA });
  const b = makeCertificate('b', { issuer: a, extensions: CA });
  const leaf = makeCertificate('leaf', { issuer: b, extensions: LEAF });
  const stranger = makeCertificate('stranger', { extensions: CA });
  for (const order of [
    [a, b],
    [b, a],
    [stranger, b, a],
    [a, b, b],
  ])
    assert.equal(verdict([leaf, ...order]), 'spiffe://a.example/x');
  assert.equal(verdict([leaf, b]), 'identity.svid.untrusted');
  assert.equal(verdict([leaf, a, b, stranger, stranger]), 'identity.svid.refused');
  const loop = makeCertificate('loop', { extensions: CA });
  const below = makeCertificate('leaf', { issuer: loop, extensions: LEAF });
  assert.equal(verdict([below, loop, loop, loop]), 'identity.svid.untrusted');
});

test('signatures of ECDSA and RSA with SHA-2 are believed, of a leaf and of who signs it, and no others', () => {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  const ecdsa = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  for (const [oid, digest, key, expected] of [
    ['1.2.840.10045.4.3.2', 'sha256', ecdsa, 'spiffe://a.example/x'],
    ['1.2.840.10045.4.3.3', 'sha384', ecdsa, 'spiffe://a.example/x'],
    ['1.2.840.10045.4.3.4', 'sha512', ecdsa, 'spiffe://a.example/x'],
    ['1.2.840.113549.1.1.11', 'sha256', rsa, 'spiffe://a.example/x'],
    ['1.2.840.113549.1.1.12', 'sha384', rsa, 'spiffe://a.example/x'],
    ['1.2.840.113549.1.1.13', 'sha512', rsa, 'spiffe://a.example/x'],
    ['1.2.840.10045.4.1', 'sha1', ecdsa, 'identity.svid.untrusted'],
    ['1.2.840.113549.1.1.5', 'sha1', rsa, 'identity.svid.untrusted'],
  ] as const) {
    const issuer = makeCertificate('issuer', { extensions: CA, key, signing: [oid, digest] });
    const signing = key === rsa ? (['1.2.840.113549.1.1.11', 'sha256'] as const) : undefined;
    const leaf = makeCertificate('leaf', { issuer, extensions: LEAF, ...(signing && { signing }) });
    assert.equal(verdict([leaf], undefined, [issuer]), expected, `issuer: ${oid}`);
    const own = makeCertificate('leaf', { issuer, extensions: LEAF, signing: [oid, digest] });
    const refused = expected.startsWith('spiffe:') ? expected : 'identity.svid.refused';
    assert.equal(verdict([own], undefined, [issuer]), refused, `leaf: ${oid}`);
  }
});

test('a serial is told without the zero that keeps it positive, and with every other', () => {
  const serialOf = (...serial: number[]) => {
    const { certificate } = makeCertificate('leaf', {
      issuer: root,
      extensions: LEAF,
      serial: Uint8Array.from(serial),
    });
    const now = new Date('2026-06-01T00:00:00Z');
    return verifyX509Svid({ chain: [certificate], bundle: [root.certificate], now }).serialHex;
  };
  assert.deepEqual([serialOf(1, 0, 2), serialOf(0x80, 0, 3), serialOf(0x7f)], ['010002', '800003', '7f']);
});

test('the issuer is who is named, not merely who has the key', () => {
  const { key } = root;
  const renamed = makeCertificate('another root', { extensions: CA, key });
  const leaf = makeCertificate('leaf', { issuer: root, extensions: LEAF });
  assert.equal(verdict([leaf], undefined, [root]), 'spiffe://a.example/x');
  assert.equal(verdict([leaf], undefined, [renamed]), 'identity.svid.untrusted');
});

test('a path length bounds the authorities below it, not the leaf', () => {
  const chain = (length: number) => {
    const top = makeCertificate('top', { extensions: [authority(length), SIGNS_CERTIFICATES] });
    const a = makeCertificate('a', { issuer: top, extensions: CA });
    const b = makeCertificate('b', { issuer: a, extensions: CA });
    const under = (issuer: Holder) => makeCertificate('leaf', { issuer, extensions: LEAF });
    const chains = [[under(top)], [under(a), a], [under(b), b, a]];
    return chains.map((holders) => verdict(holders, undefined, [top]).startsWith('spiffe:'));
  };
  assert.deepEqual(chain(0), [true, false, false]);
  assert.deepEqual(chain(1), [true, true, false]);
  assert.deepEqual(chain(2), [true, true, true]);
});

test('an extended key usage names server and client both, and a key that cannot be read is malformed', () => {
  const under = (...extensions: Uint8Array[]) => verdict([makeCertificate('leaf', { issuer: root, extensions })]);
  const purposes = (...oids: string[]) => extensionOf(OID.extendedKeyUsage, false, derSequence(...oids.map(derOid)));
  assert.equal(under(...LEAF, purposes(OID.serverAuth, OID.clientAuth)), 'spiffe://a.example/x');
  for (const oids of [[OID.serverAuth], [OID.clientAuth], []])
    assert.equal(under(...LEAF, purposes(...oids)), 'identity.svid.refused', oids.join());
  const keyless = makeCertificate('leaf', { issuer: root, extensions: LEAF, spki: derSequence() });
  assert.equal(verdict([keyless]), 'identity.certificate.malformed');
});

test('nobody makes a verified SVID but the verifier', () => {
  const { vector: _, ...given } = input('good');
  const svid = verifyX509Svid(given);
  const made = () =>
    Reflect.construct(VerifiedX509Svid, [Symbol('other'), svid.spiffeId, '01', svid.notAfter, svid.publicKey]);
  assert.throws(made, { code: 'identity.svid.refused' });
  for (const other of [undefined, null, 1, 'x', {}]) assert.ok(!VerifiedX509Svid.is(other));
  const leaf = new X509Certificate(given.chain[0] ?? new Uint8Array());
  assert.equal(svid.notAfter.getTime(), leaf.validToDate.getTime());
  assert.deepEqual(svid.publicKey, new Uint8Array(leaf.publicKey.export({ format: 'der', type: 'spki' })));
});
