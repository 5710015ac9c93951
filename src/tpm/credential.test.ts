import assert from 'node:assert/strict';
import {
  constants,
  createDecipheriv,
  createECDH,
  createHmac,
  generateKeyPairSync,
  type KeyObject,
  privateDecrypt,
  randomBytes,
} from 'node:crypto';
import { test } from 'node:test';
import { EK_ATTRIBUTES, forgePublicArea } from '../../test/simulator/soft-key.ts';
import { ByteReader } from '../bytes/byte-reader.ts';
import { sha256 } from '../bytes/sha256.ts';
import { ATTRIBUTE, DIGEST_LENGTH, type HashName } from './constants.ts';
import { makeCredential } from './credential.ts';
import { kdfa, kdfe } from './key-derivation.ts';
import { type PublicArea, parsePublicArea } from './public-area.ts';

const name = Buffer.concat([Uint8Array.of(0, 0x0b), sha256()]);
const random = (length: number) => new Uint8Array(randomBytes(length));

interface SoftEk {
  readonly privateKey: KeyObject;
  readonly area: PublicArea;
  readonly hash: HashName;
  readonly cipherBits: number;
}

function softEk(pair: { publicKey: KeyObject; privateKey: KeyObject }, hash: HashName, cipherBits: number): SoftEk {
  const bytes = forgePublicArea(pair.publicKey, { attributes: EK_ATTRIBUTES, nameAlg: hash, cipherBits });
  return { privateKey: pair.privateKey, area: parsePublicArea(bytes), hash, cipherBits };
}

/** TPM2_ActivateCredential, Part 3, 12.5, from its text: seed, integrity, then decryption. */
function activate(ek: SoftEk, blob: Uint8Array, encryptedSecret: Uint8Array, objectName: Uint8Array): Uint8Array {
  const secretReader = new ByteReader(encryptedSecret, 'TPM2B_ENCRYPTED_SECRET');
  const seed = ek.area.algorithm === 'rsa' ? rsaSeed(ek, secretReader) : eccSeed(ek, secretReader);
  secretReader.end();
  const outer = new ByteReader(blob, 'TPM2B_ID_OBJECT');
  const reader = new ByteReader(outer.sized16(256), 'TPMS_ID_OBJECT');
  outer.end();
  const mac = reader.sized16(64);
  const identity = reader.bytes(reader.remaining);
  const macKey = kdfa(ek.hash, seed, 'INTEGRITY', new Uint8Array(), new Uint8Array(), 8 * DIGEST_LENGTH[ek.hash]);
  assert.deepEqual(createHmac(ek.hash, macKey).update(identity).update(objectName).digest(), Buffer.from(mac));
  const key = kdfa(ek.hash, seed, 'STORAGE', objectName, new Uint8Array(), ek.cipherBits);
  const plain = createDecipheriv(`aes-${ek.cipherBits}-cfb`, key, new Uint8Array(16)).update(identity);
  return new ByteReader(plain, 'TPM2B_DIGEST').sized16(64);
}

function rsaSeed(ek: SoftEk, reader: ByteReader): Uint8Array {
  const options = {
    padding: constants.RSA_PKCS1_OAEP_PADDING,
    oaepHash: ek.hash,
    oaepLabel: Buffer.from('IDENTITY\0'),
  };
  return privateDecrypt({ key: ek.privateKey, ...options }, reader.sized16(512));
}

function eccSeed(ek: SoftEk, reader: ByteReader): Uint8Array {
  const jwk = ek.privateKey.export({ format: 'jwk' });
  const names: Record<string, string> = { 'P-256': 'prime256v1', 'P-384': 'secp384r1', 'P-521': 'secp521r1' };
  const ecdh = createECDH(names[jwk.crv ?? ''] ?? '');
  ecdh.setPrivateKey(Buffer.from(jwk.d ?? '', 'base64url'));
  const point = new ByteReader(reader.sized16(256), 'TPMS_ECC_POINT');
  const x = point.sized16(66);
  const y = point.sized16(66);
  point.end();
  const z = ecdh.computeSecret(Buffer.concat([Uint8Array.of(4), x, y]));
  return kdfe(ek.hash, z, 'IDENTITY', x, Buffer.from(jwk.x ?? '', 'base64url'), 8 * DIGEST_LENGTH[ek.hash]);
}

const eks = {
  'RSA-2048, template L-1': () => softEk(generateKeyPairSync('rsa', { modulusLength: 2048 }), 'sha256', 128),
  'RSA-3072, template H-6': () => softEk(generateKeyPairSync('rsa', { modulusLength: 3072 }), 'sha384', 256),
  'P-256, template L-2': () => softEk(generateKeyPairSync('ec', { namedCurve: 'P-256' }), 'sha256', 128),
  'P-384, template H-3': () => softEk(generateKeyPairSync('ec', { namedCurve: 'P-384' }), 'sha384', 256),
  'P-521, template H-4': () => softEk(generateKeyPairSync('ec', { namedCurve: 'P-521' }), 'sha512', 256),
};

for (const [label, make] of Object.entries(eks)) {
  test(`${label}: the holder of the EK gets the secret of this name, and of no other`, () => {
    const ek = make();
    for (const length of [1, 16, 32]) {
      const secret = random(length);
      const made = makeCredential({ ek: ek.area, name, secret, random });
      const { credentialBlob, encryptedSecret } = made;
      assert.deepEqual(Buffer.from(activate(ek, credentialBlob, encryptedSecret, name)), Buffer.from(secret));
      const other = name.map((byte, index) => (index === 33 ? byte ^ 1 : byte));
      assert.throws(() => activate(ek, credentialBlob, encryptedSecret, other), assert.AssertionError);
    }
  });
}

test('the same randomness makes the same credential, other randomness another', () => {
  for (const make of [eks['RSA-2048, template L-1'], eks['P-256, template L-2']]) {
    const { area } = make();
    const counting = () => {
      let calls = 0;
      return (length: number) => new Uint8Array(length).fill(++calls);
    };
    const secret = random(32);
    const credential = (source: (length: number) => Uint8Array) =>
      makeCredential({ ek: area, name, secret, random: source });
    assert.deepEqual(credential(counting()), credential(counting()));
    assert.notDeepEqual(credential(random), credential(random));
  }
});

test('a draw that is no private key is drawn again; a source that never yields one is refused', () => {
  const { area } = eks['P-256, template L-2']();
  let draws = 0;
  const stubborn = (length: number) => (++draws < 4 ? new Uint8Array(length).fill(0xff) : random(length));
  assert.ok(makeCredential({ ek: area, name, secret: random(32), random: stubborn }));
  assert.equal(draws, 4);
  const zeros = (length: number) => new Uint8Array(length);
  assert.throws(() => makeCredential({ ek: area, name, secret: random(32), random: zeros }), { code: 'tpm.argument' });
});

test('a secret longer than a digest, or none, is refused', () => {
  const { area } = eks['P-256, template L-2']();
  for (const length of [0, 33]) {
    assert.throws(() => makeCredential({ ek: area, name, secret: random(length), random }), { code: 'tpm.argument' });
  }
});

test('only a restricted decryption key with a cipher gets a credential', () => {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const attempt = (attributes: number, cipherBits?: number) => () => {
    const bytes = forgePublicArea(publicKey, cipherBits === undefined ? { attributes } : { attributes, cipherBits });
    return makeCredential({ ek: parsePublicArea(bytes), name, secret: random(32), random });
  };
  assert.ok(attempt(EK_ATTRIBUTES, 128)());
  const faults = (all: string) => ({ code: 'tpm.ek.attributes', details: { faults: all } });
  assert.throws(attempt(EK_ATTRIBUTES), faults('it has no storage cipher'));
  assert.throws(attempt(EK_ATTRIBUTES | ATTRIBUTE.SIGN, 128), faults('sign is set'));
  assert.throws(attempt(EK_ATTRIBUTES & ~ATTRIBUTE.DECRYPT), faults('decrypt is clear, it has no storage cipher'));
  for (const bit of ['RESTRICTED', 'DECRYPT', 'FIXED_TPM', 'FIXED_PARENT', 'SENSITIVE_DATA_ORIGIN'] as const) {
    assert.throws(attempt(EK_ATTRIBUTES & ~ATTRIBUTE[bit], 128), { code: 'tpm.ek.attributes' }, bit);
  }
  for (const bit of ['SIGN', 'ENCRYPTED_DUPLICATION'] as const)
    assert.throws(attempt(EK_ATTRIBUTES | ATTRIBUTE[bit], 128), { code: 'tpm.ek.attributes' }, bit);
});

test('64 draws are made at most; of the first byte of a draw for P-521 the lowest bit is kept, and the source’s bytes stay', () => {
  const { area } = eks['P-256, template L-2']();
  const secret = random(32);
  const after = (bad: number) => {
    let draws = 0;
    const source = (length: number) => (++draws <= bad ? new Uint8Array(length) : random(length));
    return { made: () => makeCredential({ ek: area, name, secret, random: source }), draws: () => draws };
  };
  assert.ok(after(63).made());
  const { made, draws } = after(64);
  assert.throws(made, { code: 'tpm.argument' });
  assert.equal(draws(), 64);
  const drawn: Uint8Array[] = [];
  const constant = (length: number) => {
    drawn.push(new Uint8Array(length).fill(0xff).with(0, 0x7e));
    return drawn.at(-1) ?? assert.fail();
  };
  assert.ok(makeCredential({ ek: eks['P-521, template H-4']().area, name, secret, random: constant }));
  assert.deepEqual(drawn, [new Uint8Array(66).fill(0xff).with(0, 0x7e)]);
});
