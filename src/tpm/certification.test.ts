import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { SoftwareTpm, skipWithoutSoftwareTpm } from '../../test/simulator/software-tpm.ts';
import { DEFAULT_TIMEOUTS, TpmExecutor } from '../agent/tpm-executor.ts';
import { toHex } from '../bytes/hex.ts';
import { parseCertification, parseQuote } from './attest.ts';
import { type VerifiedAttestationKey, verifyAttestationKey } from './attestation-key.ts';
import { type CertificationInput, CertifiedKey, verifyCertification } from './certification.ts';
import { certifyKey, createEndorsementPrimary, quotePcrs } from './key-commands.ts';
import { objectName, parsePublicArea } from './public-area.ts';
import { attestationKeyTemplate, SIGNING_KEY_TEMPLATE } from './template.ts';

const skip = skipWithoutSoftwareTpm();

describe('TPM2_Certify', { skip }, () => {
  const extraData = new Uint8Array(randomBytes(32));
  let tpm: SoftwareTpm;
  let executor: TpmExecutor;
  let input: CertificationInput;
  let akHandle = 0;

  before(async () => {
    tpm = await SoftwareTpm.create({ directory: await mkdtemp(join(tmpdir(), 'lacre-tpm-')), certificates: false });
    await tpm.start();
    executor = new TpmExecutor(tpm.address, DEFAULT_TIMEOUTS);
    input = await executor.exclusive(async () => {
      const ak = await executor.run(createEndorsementPrimary(attestationKeyTemplate('ecdsa-p256')));
      const key = await executor.run(createEndorsementPrimary(SIGNING_KEY_TEMPLATE));
      akHandle = executor.hold(ak.handle);
      const answer = await executor.run(certifyKey(executor.hold(key.handle), ak.handle, extraData));
      return {
        ...answer,
        ak: verifyAttestationKey(parsePublicArea(ak.public)),
        key: parsePublicArea(key.public),
        extraData,
      };
    });
  });
  after(async () => {
    await executor.close();
    await tpm[Symbol.asyncDispose]();
  });

  test('a signing key of the same TPM is certified by its Name', () => {
    const certified = verifyCertification(input);
    assert.ok(CertifiedKey.isVerified(certified));
    assert.equal(certified.nameHex, toHex(objectName(input.key)));
    assert.deepEqual(parseCertification(input.attest).name, objectName(input.key));
    assert.throws(() => Reflect.construct(CertifiedKey, [Symbol('other'), input.key, '']), TypeError);
  });

  test('another nonce, another key, a changed byte, or a key that was not verified is refused', () => {
    const code = (change: Partial<CertificationInput>) => {
      try {
        verifyCertification({ ...input, ...change });
        return 'verified';
      } catch (error) {
        return (error as { code?: string }).code ?? (error as Error).name;
      }
    };
    assert.equal(code({ extraData: new Uint8Array(32) }), 'tpm.quote.extra-data');
    assert.equal(code({ key: input.ak.area }), 'tpm.certify.name');
    assert.equal(code({ attest: input.attest.with(40, (input.attest[40] ?? 0) ^ 1) }), 'tpm.quote.signature');
    const rsassa = Uint8Array.from([0, 0x14, ...input.signature.subarray(2, 4), 0, 0]);
    assert.equal(code({ signature: rsassa }), 'tpm.quote.signature');
    assert.equal(code({ ak: { ...input.ak } as unknown as VerifiedAttestationKey }), 'TypeError');
  });

  test('a restricted key is no signing key for everything', async () => {
    for (const area of [attestationKeyTemplate('ecdsa-p384')]) {
      const { answer, made } = await executor.exclusive(async () => {
        const key = await executor.run(createEndorsementPrimary(area));
        const certified = await executor.run(certifyKey(executor.hold(key.handle), akHandle, extraData));
        await executor.release(key.handle);
        return { answer: certified, made: key };
      });
      assert.throws(() => verifyCertification({ ...input, ...answer, key: parsePublicArea(made.public) }), {
        code: 'tpm.certify.attributes',
        message: /restricted is set/,
      });
    }
  });

  test('a quote is no certification, and a certification no quote', async () => {
    const quote = await executor.exclusive(() => executor.run(quotePcrs(akHandle, extraData, 'sha256', [0])));
    assert.throws(() => verifyCertification({ ...input, ...quote }), { code: 'tpm.quote.type' });
    assert.throws(() => parseQuote(input.attest), { code: 'tpm.quote.type' });
  });
});
