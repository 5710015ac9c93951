import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { test } from 'node:test';
import { AK_ATTRIBUTES, forgePublicArea, softSignature } from '../../test/simulator/soft-key.ts';
import { ByteWriter } from '../bytes/byte-writer.ts';
import { toHex } from '../bytes/hex.ts';
import { verifyAttestationKey } from './attestation-key.ts';
import { CertifiedKey, verifyCertification } from './certification.ts';
import { ALG, ATTRIBUTE, GENERATED, type HashName, TAG } from './constants.ts';
import { objectName, type PublicArea, parsePublicArea } from './public-area.ts';

const extraData = new Uint8Array(32).fill(9);
const ecc = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const SIGNING =
  ATTRIBUTE.FIXED_TPM |
  ATTRIBUTE.FIXED_PARENT |
  ATTRIBUTE.SENSITIVE_DATA_ORIGIN |
  ATTRIBUTE.USER_WITH_AUTH |
  ATTRIBUTE.SIGN;

function areaOf(key: KeyObject, attributes: number, algorithm: number, hash: HashName = 'sha256'): PublicArea {
  return parsePublicArea(forgePublicArea(key, { attributes, scheme: { algorithm, hash } }));
}

const certified = (attributes: number) => areaOf(ecc.publicKey, attributes, ALG.ECDSA);

/** A TPMS_ATTEST as TPM2_Certify would make it. */
function attestOf(key: PublicArea): Uint8Array {
  const writer = new ByteWriter().u32(GENERATED).u16(TAG.ATTEST_CERTIFY).sized16(new Uint8Array(34)).sized16(extraData);
  writer.u64(1n).u32(1).u32(0).u8(1).u64(7n);
  return writer.sized16(objectName(key)).sized16(new Uint8Array(34)).finish();
}

function verify(key: PublicArea, akScheme: [number, HashName], signed: [number, HashName] = akScheme): string {
  const pair = akScheme[0] === ALG.ECDSA ? ecc : rsa;
  const attest = attestOf(key);
  const signature = softSignature(pair.privateKey, ...signed, attest);
  const ak = verifyAttestationKey(areaOf(pair.publicKey, AK_ATTRIBUTES, ...akScheme));
  try {
    return verifyCertification({ attest, signature, ak, key, extraData }).area === key ? 'verified' : 'another key';
  } catch (error) {
    return (error as { code: string }).code;
  }
}

test('a certification is signed in the scheme of the attestation key, and in no other that its key could do', () => {
  const key = certified(SIGNING);
  const refused = 'tpm.quote.signature';
  assert.equal(verify(key, [ALG.ECDSA, 'sha256']), 'verified');
  assert.equal(verify(key, [ALG.ECDSA, 'sha256'], [ALG.ECDSA, 'sha384']), refused);
  assert.equal(verify(key, [ALG.RSASSA, 'sha256']), 'verified');
  assert.equal(verify(key, [ALG.RSASSA, 'sha256'], [ALG.RSAPSS, 'sha256']), refused);
  assert.equal(verify(key, [ALG.RSASSA, 'sha256'], [ALG.RSASSA, 'sha512']), refused);
});

test('another nonce, another key, or an attestation key that nobody verified, certifies nothing', () => {
  const key = certified(SIGNING);
  const attest = attestOf(key);
  const signature = softSignature(ecc.privateKey, ALG.ECDSA, 'sha256', attest);
  const ak = verifyAttestationKey(areaOf(ecc.publicKey, AK_ATTRIBUTES, ALG.ECDSA));
  const input = { attest, signature, ak, key, extraData };
  const made = verifyCertification(input);
  assert.ok(CertifiedKey.isVerified(made));
  assert.ok(!CertifiedKey.isVerified({ ...made }));
  assert.equal(made.nameHex, toHex(objectName(key)));
  assert.throws(() => verifyCertification({ ...input, extraData: extraData.with(0, 1) }), {
    code: 'tpm.quote.extra-data',
  });
  assert.throws(() => verifyCertification({ ...input, key: ak.area }), { code: 'tpm.certify.name' });
  const lookAlike = { ...ak } as unknown as typeof ak;
  assert.throws(() => verifyCertification({ ...input, ak: lookAlike }), TypeError);
  assert.throws(() => Reflect.construct(CertifiedKey, [Symbol('other'), key, '']), TypeError);
});

test('each attribute of a signing key that never leaves its TPM is asked for', () => {
  const scheme: [number, HashName] = [ALG.ECDSA, 'sha256'];
  for (const name of ['SIGN', 'FIXED_TPM', 'FIXED_PARENT', 'SENSITIVE_DATA_ORIGIN'] as const)
    assert.equal(verify(certified(SIGNING & ~ATTRIBUTE[name]), scheme), 'tpm.certify.attributes', name);
  for (const name of ['RESTRICTED', 'DECRYPT', 'ENCRYPTED_DUPLICATION'] as const)
    assert.equal(verify(certified(SIGNING | ATTRIBUTE[name]), scheme), 'tpm.certify.attributes', name);
});
