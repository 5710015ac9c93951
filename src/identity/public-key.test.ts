import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { test } from 'node:test';
import type { ErrorCode } from '../error-code.ts';
import { isLacreError } from '../lacre-error.ts';
import { DerReader, derBitString, derSequence, TAG } from './der.ts';
import { parsePublicKey, requirePublicKey } from './public-key.ts';

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
  for (const even of [65_538, 65_540]) assert.throws(() => parsePublicKey(rsa(2n ** 2048n - 1n, even)), refused);
});

test('a key of which OpenSSL reads more encodings than one is taken in its DER alone', () => {
  const bits = (body: Uint8Array) => derBitString(body);
  const numbers = (key: Uint8Array) => new DerReader(key, 'x').enter(TAG.sequence);
  const good = rsa(2n ** 2048n - 1n, 65_537);
  const info = numbers(good);
  const algorithm = info.readWhole(TAG.sequence);
  const body = info.read(TAG.bitString).subarray(1);
  assert.deepEqual(derSequence(algorithm, bits(body)), good);
  const longer = new Uint8Array([0x30, 0x83, 0, ...body.subarray(2)]);
  assert.throws(() => parsePublicKey(derSequence(algorithm, bits(longer))), code('identity.key.malformed'));
  assert.throws(() => parsePublicKey(derSequence(algorithm, derBitString(body, 1))), code('identity.key.malformed'));
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
  for (const [at, value] of [
    [26, 6],
    [26, 7],
    [25, 1],
  ] as const)
    assert.throws(() => parsePublicKey(good.with(at, value)), code('identity.key.refused'), `${at}: ${value}`);
});

const SMALL_Y = 0xd7325d7646cd60d80a92738ceb345f844cffaf35841022cab176f692de8de1d7n;

test('P-256 keys are taken and refused as OpenSSL does, with coordinates of any value', () => {
  const p = 0xffffffff00000001000000000000000000000000ffffffffffffffffffffffffn;
  const b = 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn;
  const head = ec('P-256').subarray(0, 27);
  const coordinate = (value: bigint) => Buffer.from(value.toString(16).padStart(64, '0'), 'hex');
  const keyOf = (x: bigint, y: bigint) => new Uint8Array(Buffer.concat([head, coordinate(x), coordinate(y)]));
  const verdictOf = (read: (bytes: Uint8Array) => unknown, bytes: Uint8Array) => {
    try {
      read(bytes);
      return 'taken';
    } catch (error) {
      return isLacreError(error) ? error.code : String(error);
    }
  };
  const power = (base: bigint, exponent: bigint): bigint => {
    let result = 1n;
    for (let left = exponent, square = base % p; left > 0n; left >>= 1n, square = (square * square) % p)
      if (left & 1n) result = (result * square) % p;
    return result;
  };
  const root = (x: bigint) => power(((((x * x - 3n) * x + b) % p) + p) % p, (p + 1n) / 4n);
  const samples = [
    ...Array.from({ length: 40 }, () => ec('P-256')),
    ...[0n, 1n, 2n, 5n, 6n, p - 1n, p - 3n].flatMap((x) => [keyOf(x, root(x)), keyOf(x, (p - root(x)) % p)]),
    // A point whose y is 5: with p added it still fits into 32 bytes, and is another encoding of the same point.
    keyOf(SMALL_Y, 5n),
    keyOf(SMALL_Y, 5n + p),
    ...[0n, 5n].flatMap((x) => [keyOf(x, root(x) + 1n), keyOf(x + p, root(x)), keyOf(0n, 0n), keyOf(p, p)]),
    keyOf(5n, p - 1n),
    keyOf((1n << 256n) - 1n, (1n << 256n) - 1n),
  ];
  const verdicts = samples.map((bytes) => [verdictOf(requirePublicKey, bytes), verdictOf(parsePublicKey, bytes)]);
  for (const [own, openSsl] of verdicts) assert.equal(own, openSsl);
  assert.deepEqual(new Set(verdicts.map(([own]) => own)), new Set(['taken', 'identity.key.malformed']));
});

test('what is no key is malformed', () => {
  const good = ec('P-256');
  for (const bad of [new Uint8Array(), good.subarray(0, 40), new Uint8Array([...good, 0])]) {
    assert.throws(() => parsePublicKey(bad), code('identity.der.malformed'));
    assert.throws(() => requirePublicKey(bad), code('identity.der.malformed'));
  }
  assert.throws(() => parsePublicKey(new Uint8Array(2048)), code('identity.der.malformed'));
  assert.throws(() => parsePublicKey(new Uint8Array(2049)), code('identity.key.malformed'));
  const [algorithm, point] = [good.subarray(2, 23), good.subarray(23)];
  const nothing = derSequence(algorithm, derBitString(new Uint8Array()));
  const after = derSequence(algorithm, point, Uint8Array.of(5, 0));
  assert.throws(() => parsePublicKey(nothing), code('identity.key.refused'));
  assert.throws(() => parsePublicKey(after), code('identity.der.malformed'));
});
