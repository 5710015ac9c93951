import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { fromHex, toHex } from '../bytes/hex.ts';
import {
  AK_ALGORITHMS,
  attestationKeyTemplate,
  EK_CHAIN_INDICES,
  EK_TEMPLATES,
  SIGNING_KEY_TEMPLATE,
} from './template.ts';

/** TPM_ALG_ID, bytes of a digest, and the NV index of the policy that is authorized there (profile, B.6). */
const HASHES = {
  sha256: { id: '000b', length: 0x20, index: '01c07f01' },
  sha384: { id: '000c', length: 0x30, index: '01c07f02' },
  sha512: { id: '000d', length: 0x40, index: '01c07f03' },
} as const;
type Hash = keyof typeof HASHES;

const u16 = (value: number) => value.toString(16).padStart(4, '0');
const hashOf = (hash: Hash, ...parts: readonly string[]) =>
  createHash(hash)
    .update(fromHex(parts.join('')))
    .digest('hex');
const zeros = (length: number) => '00'.repeat(length);

/** Policy A (profile, B.6.2): TPM2_PolicySecret of the endorsement hierarchy, without a reference (Part 3, 23.4). */
function policyA(hash: Hash): string {
  return hashOf(hash, hashOf(hash, zeros(HASHES[hash].length), '00000151', '4000000b'));
}

/** Policy B: TPM2_PolicyOR of A and of TPM2_PolicyAuthorizeNV of the index (Part 3, 23.6 and 23.22). */
function policyB(hash: Hash): string {
  const { id, length, index } = HASHES[hash];
  const nvPublic = [index, id, '220f1008', u16(length), policyA(hash), u16(length + 2)];
  const c = hashOf(hash, zeros(length), '00000192', id, hashOf(hash, ...nvPublic));
  return hashOf(hash, zeros(length), '00000171', policyA(hash), c);
}

const RSA = '0001';
const ECC = '0023';
/** TPMA_OBJECT of the profile: low range, high range. */
const LOW = '000300b2';
const HIGH = '000300f2';
const storage = (type: string, hash: Hash, attributes: string, policy: string, cipherBits: number) =>
  [type, HASHES[hash].id, attributes, u16(policy.length / 2), policy, '0006', u16(cipherBits), '0043', '0010'].join('');
const high = (type: string, hash: Hash, bits: number) => storage(type, hash, HIGH, policyB(hash), bits);

const EXPECTED: readonly (readonly [string, number, boolean, string])[] = [
  ['L-1', 0x01c00002, false, `${storage(RSA, 'sha256', LOW, policyA('sha256'), 128)}0800000000000100${zeros(256)}`],
  [
    'L-2',
    0x01c0000a,
    false,
    `${storage(ECC, 'sha256', LOW, policyA('sha256'), 128)}00030010${`0020${zeros(32)}`.repeat(2)}`,
  ],
  ['H-1', 0x01c00012, true, `${high(RSA, 'sha256', 128)}0800000000000000`],
  ['H-2', 0x01c00014, true, `${high(ECC, 'sha256', 128)}0003001000000000`],
  ['H-3', 0x01c00016, true, `${high(ECC, 'sha384', 256)}0004001000000000`],
  ['H-4', 0x01c00018, true, `${high(ECC, 'sha512', 256)}0005001000000000`],
  ['H-6', 0x01c0001c, true, `${high(RSA, 'sha384', 256)}0c00000000000000`],
  ['H-7', 0x01c0001e, true, `${high(RSA, 'sha384', 256)}1000000000000000`],
];

test('templates of endorsement keys are those of the profile, byte for byte, in its order', () => {
  assert.deepEqual(
    EK_TEMPLATES.map(({ name, certificateIndex, userWithAuth, public: area }) => [
      name,
      certificateIndex,
      userWithAuth,
      toHex(area),
    ]),
    EXPECTED,
  );
  assert.deepEqual(EK_CHAIN_INDICES, { first: 0x01c00100, last: 0x01c001ff });
});

/** What follows a restricted signing key's type: SHA-256, its attributes, no policy, no cipher. */
const SIGNS = '000b0005007200000010';

test('templates of attestation keys state their scheme, its hash and their size', () => {
  assert.deepEqual(Object.fromEntries(AK_ALGORITHMS.map((name) => [name, toHex(attestationKeyTemplate(name))])), {
    'ecdsa-p256': `${ECC}${SIGNS}0018000b0003001000000000`,
    'ecdsa-p384': `${ECC}${SIGNS}0018000c0004001000000000`,
    'ecdsa-p521': `${ECC}${SIGNS}0018000d0005001000000000`,
    'rsassa-2048': `${RSA}${SIGNS}0014000b0800000000000000`,
    'rsassa-3072': `${RSA}${SIGNS}0014000c0c00000000000000`,
    'rsassa-4096': `${RSA}${SIGNS}0014000c1000000000000000`,
    'rsapss-2048': `${RSA}${SIGNS}0016000b0800000000000000`,
    'rsapss-3072': `${RSA}${SIGNS}0016000c0c00000000000000`,
    'rsapss-4096': `${RSA}${SIGNS}0016000c1000000000000000`,
  });
  const other = toHex(attestationKeyTemplate('rsassa-3072', 'sha256'));
  assert.equal(other, `${RSA}${SIGNS}0014000b0c00000000000000`, 'the hash that the TPM has');
});

test('the key that is certified signs without being restricted', () => {
  assert.equal(toHex(SIGNING_KEY_TEMPLATE), `${ECC}000b00040072000000100018000b0003001000000000`);
});
