import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { AK_ATTRIBUTES, EK_ATTRIBUTES, forgePublicArea } from '../../test/simulator/soft-key.ts';
import { ByteWriter } from '../bytes/byte-writer.ts';
import { fromHex, toHex } from '../bytes/hex.ts';
import { isLacreError, type LacreError } from '../lacre-error.ts';
import { verifyAttestationKey } from './attestation-key.ts';
import { ALG, ATTRIBUTE } from './constants.ts';
import { objectName, parsePublicArea, parseSizedPublicArea } from './public-area.ts';
import { rsaPublicKey } from './public-key.ts';

interface AreaVector {
  note: string;
  publicHex: string;
  verdict: string;
  algorithm?: string;
  nameHex?: string;
  attestationKey?: string;
}

const folder = new URL('../../vectors/tpm/public-area/', import.meta.url);
const vectors = readdirSync(folder).map((file) => {
  const vector: AreaVector = JSON.parse(readFileSync(new URL(file, folder), 'utf8'));
  return { file, vector };
});

function codeOf(work: () => unknown): string {
  try {
    work();
    return 'verified';
  } catch (error) {
    if (isLacreError(error)) return error.code;
    throw error;
  }
}

for (const { file, vector } of vectors) {
  test(`public area ${file}: ${vector.note}`, () => {
    const bytes = fromHex(vector.publicHex);
    if (vector.verdict !== 'parsed') {
      assert.throws(() => parsePublicArea(bytes), { code: vector.verdict });
      return;
    }
    const area = parsePublicArea(bytes);
    assert.equal(area.algorithm, vector.algorithm);
    assert.deepEqual(area.bytes, bytes);
    if (vector.nameHex !== undefined) assert.equal(toHex(objectName(area)), vector.nameHex);
    assert.equal(
      codeOf(() => verifyAttestationKey(area)),
      vector.attestationKey,
    );
    assert.deepEqual(parseSizedPublicArea(new ByteWriter().sized16(bytes).finish()), area);
  });
}

test('a public area cut anywhere, or with a byte more, is malformed', () => {
  for (const { vector } of vectors.filter((item) => item.vector.verdict === 'parsed')) {
    const bytes = fromHex(vector.publicHex);
    for (let length = 0; length < bytes.length; length++) {
      assert.throws(() => parsePublicArea(bytes.subarray(0, length)), /./, `${length} bytes of ${vector.note}`);
      assert.ok(
        ['tpm.malformed', 'tpm.unsupported'].includes(codeOf(() => parsePublicArea(bytes.subarray(0, length)))),
      );
    }
    assert.throws(() => parsePublicArea(Buffer.concat([bytes, Uint8Array.of(0)])), { code: 'tpm.malformed' });
  }
  assert.throws(() => parsePublicArea(new Uint8Array(100_000)), { code: 'tpm.malformed' });
});

for (const [name, options] of Object.entries({
  'RSA-3072': { type: 'rsa', bits: 3072 },
  'RSA-4096': { type: 'rsa', bits: 4096 },
  'P-256': { type: 'ec', curve: 'P-256' },
  'P-384': { type: 'ec', curve: 'P-384' },
  'P-521': { type: 'ec', curve: 'P-521' },
} as const)) {
  test(`${name}: the key read is the key written`, () => {
    const { publicKey } =
      options.type === 'rsa'
        ? generateKeyPairSync('rsa', { modulusLength: options.bits })
        : generateKeyPairSync('ec', { namedCurve: options.curve });
    const algorithm = options.type === 'rsa' ? ALG.RSASSA : ALG.ECDSA;
    const bytes = forgePublicArea(publicKey, { attributes: AK_ATTRIBUTES, scheme: { algorithm, hash: 'sha256' } });
    const area = parsePublicArea(bytes);
    assert.deepEqual(Buffer.from(area.spki), publicKey.export({ type: 'spki', format: 'der' }));
    assert.equal(
      codeOf(() => verifyAttestationKey(area)),
      'verified',
    );
  });
}

test('coordinates without their leading zeros are the same key', () => {
  for (;;) {
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const { x = '', y = '' } = publicKey.export({ format: 'jwk' });
    const point = Buffer.from(x, 'base64url');
    if (point[0] !== 0) continue;
    const scheme = { algorithm: ALG.ECDSA, hash: 'sha256' } as const;
    const full = forgePublicArea(publicKey, { attributes: AK_ATTRIBUTES, scheme });
    const head = full.subarray(0, full.length - 68);
    const stripped = new ByteWriter().bytes(head).sized16(point.subarray(1)).sized16(Buffer.from(y, 'base64url'));
    assert.deepEqual(parsePublicArea(stripped.finish()).spki, parsePublicArea(full).spki);
    return;
  }
});

test('an attestation key must be restricted, sign, stay in its TPM, and not decrypt', () => {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const scheme = { algorithm: ALG.ECDSA, hash: 'sha256' } as const;
  const faultOf = (attributes: number) => {
    try {
      verifyAttestationKey(parsePublicArea(forgePublicArea(publicKey, { attributes, scheme })));
      return '';
    } catch (error) {
      return (error as LacreError).details['faults'];
    }
  };
  assert.equal(faultOf(AK_ATTRIBUTES), '');
  assert.equal(faultOf(AK_ATTRIBUTES & ~ATTRIBUTE.RESTRICTED), 'restricted is clear');
  assert.equal(faultOf(AK_ATTRIBUTES & ~ATTRIBUTE.SIGN), 'sign is clear');
  assert.equal(faultOf(AK_ATTRIBUTES & ~ATTRIBUTE.FIXED_TPM), 'fixedTPM is clear');
  assert.equal(faultOf(AK_ATTRIBUTES & ~ATTRIBUTE.FIXED_PARENT), 'fixedParent is clear');
  assert.equal(faultOf(AK_ATTRIBUTES & ~ATTRIBUTE.SENSITIVE_DATA_ORIGIN), 'sensitiveDataOrigin is clear');
  assert.equal(faultOf(AK_ATTRIBUTES | ATTRIBUTE.DECRYPT), 'decrypt is set');
  assert.equal(faultOf(AK_ATTRIBUTES | ATTRIBUTE.ENCRYPTED_DUPLICATION), 'encryptedDuplication is set');
  assert.equal(faultOf(AK_ATTRIBUTES | ATTRIBUTE.X509_SIGN), 'x509sign is set');
  assert.equal(
    faultOf(ATTRIBUTE.DECRYPT),
    'restricted is clear, sign is clear, fixedTPM is clear, fixedParent is clear, sensitiveDataOrigin is clear, decrypt is set',
  );
});

test('an attestation key needs a scheme with SHA-256, and no cipher', () => {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
  const verify = (options: object) =>
    verifyAttestationKey(parsePublicArea(forgePublicArea(publicKey, { attributes: AK_ATTRIBUTES, ...options })));
  const scheme = { algorithm: ALG.ECDSA, hash: 'sha256' };
  assert.throws(() => verify({}), { code: 'tpm.ak.attributes', details: { faults: 'it has no signing scheme' } });
  assert.equal(verify({ scheme: { ...scheme, hash: 'sha384' } }).scheme.hash, 'sha384');
  assert.throws(() => verify({ scheme, cipherBits: 128 }), /it has a storage cipher/);
  assert.ok(verify({ scheme }));
});

test('an RSA key has the usual exponent, and a modulus as long as it says', () => {
  const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const bytes = forgePublicArea(publicKey, { attributes: EK_ATTRIBUTES, cipherBits: 128 });
  const at = bytes.length - 256 - 2 - 4;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const spki = parsePublicArea(bytes).spki;
  view.setUint32(at, 65_537);
  assert.deepEqual(parsePublicArea(bytes).spki, spki, 'zero means the usual one');
  for (const exponent of [1, 3, 65_536, 65_538, 0xffff_ffff]) {
    view.setUint32(at, exponent);
    assert.equal(
      codeOf(() => parsePublicArea(bytes)),
      'tpm.unsupported',
      String(exponent),
    );
  }
  view.setUint32(at, 0);
  const head = bytes.subarray(0, at + 4);
  const modulus = bytes.subarray(at + 6);
  const sized = (part: Uint8Array) => new ByteWriter().bytes(head).sized16(part).finish();
  assert.equal(
    codeOf(() => parsePublicArea(sized(modulus.subarray(0, 255)))),
    'tpm.malformed',
  );
  const weak = modulus.with(0, (modulus[0] ?? 0) & 0x7f);
  assert.equal(
    codeOf(() => parsePublicArea(sized(weak))),
    'tpm.malformed',
    'a modulus of 2047 bits',
  );
});

test('each field of a storage key that is of no accepted kind is refused by its name', () => {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const bytes = forgePublicArea(publicKey, { attributes: EK_ATTRIBUTES, cipherBits: 128 });
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  for (const [offset, value, kind] of [
    [0, 0x0008, 'key type'],
    [2, 0x0004, 'hash'],
    [10, 0x0026, 'cipher'],
    [12, 129, 'AES key size'],
    [14, 0x0042, 'cipher mode'],
    [16, 0x001a, 'scheme'],
    [18, 0x0020, 'curve'],
    [20, 0x0020, 'key derivation scheme'],
  ] as const) {
    const before = view.getUint16(offset);
    view.setUint16(offset, value);
    assert.throws(() => parsePublicArea(bytes), {
      code: 'tpm.unsupported',
      details: { structure: 'TPMT_PUBLIC', kind, value },
    });
    view.setUint16(offset, before);
  }
  assert.equal(parsePublicArea(bytes).curve, 'P-256');
});

test('every field is read, and stays what it was when the bytes change', () => {
  const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 3072 });
  const modulus = Buffer.from(publicKey.export({ format: 'jwk' }).n ?? '', 'base64url');
  const policy = new Uint8Array(48).fill(9);
  for (const keyBits of [128, 192, 256] as const) {
    const head = new ByteWriter().u16(ALG.RSA).u16(ALG.SHA384).u32(EK_ATTRIBUTES).sized16(policy);
    head.u16(ALG.AES).u16(keyBits).u16(ALG.CFB).u16(ALG.NULL).u16(3072).u32(0).sized16(modulus);
    const bytes = head.finish();
    const before = bytes.slice();
    const { key, ...fields } = parsePublicArea(bytes);
    bytes.fill(0xff);
    assert.deepEqual(fields, {
      bytes: before,
      algorithm: 'rsa',
      nameAlg: 'sha384',
      attributes: EK_ATTRIBUTES,
      authPolicy: policy,
      symmetric: { name: 'aes', keyBits },
      scheme: undefined,
      curve: undefined,
      modulusBits: 3072,
      spki: new Uint8Array(publicKey.export({ type: 'spki', format: 'der' })),
    });
    assert.ok(key.equals(publicKey));
  }
});

test('a scheme is read with its hash, of the kind that the key can do', () => {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey;
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey;
  const schemeOf = (key: typeof rsa, algorithm: number) =>
    parsePublicArea(forgePublicArea(key, { attributes: AK_ATTRIBUTES, scheme: { algorithm, hash: 'sha512' } })).scheme;
  assert.deepEqual(schemeOf(rsa, ALG.RSASSA), { name: 'rsassa', hash: 'sha512' });
  assert.deepEqual(schemeOf(rsa, ALG.RSAPSS), { name: 'rsapss', hash: 'sha512' });
  assert.deepEqual(schemeOf(ec, ALG.ECDSA), { name: 'ecdsa', hash: 'sha512' });
  assert.throws(() => schemeOf(rsa, ALG.ECDSA), { code: 'tpm.unsupported' });
  for (const algorithm of [ALG.RSASSA, ALG.RSAPSS])
    assert.throws(() => schemeOf(ec, algorithm), { code: 'tpm.unsupported' });
});

test('an attribute bit that the Library does not define is malformed, each of them', () => {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const defined = new Set<number>(Object.values(ATTRIBUTE));
  for (let bit = 0; bit < 32; bit++) {
    const attributes = (1 << bit) >>> 0;
    const verdict = codeOf(() => parsePublicArea(forgePublicArea(publicKey, { attributes })));
    assert.equal(verdict, defined.has(1 << bit) ? 'verified' : 'tpm.malformed', `bit ${bit}`);
  }
  assert.deepEqual(
    Object.entries(ATTRIBUTE).map(([name, value]) => [name, Math.log2(value)]),
    [
      ['FIXED_TPM', 1],
      ['ST_CLEAR', 2],
      ['FIXED_PARENT', 4],
      ['SENSITIVE_DATA_ORIGIN', 5],
      ['USER_WITH_AUTH', 6],
      ['ADMIN_WITH_POLICY', 7],
      ['NO_DA', 10],
      ['ENCRYPTED_DUPLICATION', 11],
      ['RESTRICTED', 16],
      ['DECRYPT', 17],
      ['SIGN', 18],
      ['X509_SIGN', 19],
    ],
  );
});

test('a modulus has its highest and its lowest bit set', () => {
  const modulus = (first: number, last: number) => new Uint8Array(256).fill(0x55).with(0, first).with(255, last);
  assert.equal(rsaPublicKey(modulus(0x80, 1)).asymmetricKeyDetails?.modulusLength, 2048);
  for (const [first, last] of [
    [0x7f, 1],
    [0x80, 2],
    [0xff, 0xfe],
  ] as const)
    assert.throws(() => rsaPublicKey(modulus(first, last)), {
      code: 'tpm.malformed',
      details: { structure: 'RSA key' },
    });
});
