import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { SoftwareTpm, skipWithoutSoftwareTpm } from '../../test/simulator/software-tpm.ts';
import { TpmProxy } from '../../test/simulator/tpm-proxy.ts';
import { toHex } from '../bytes/hex.ts';
import { sha256 } from '../bytes/sha256.ts';
import { isLacreError } from '../lacre-error.ts';
import { verifyAttestationKey } from '../tpm/attestation-key.ts';
import { makeCredential } from '../tpm/credential.ts';
import { verifyEndorsement } from '../tpm/endorsement.ts';
import { createEndorsementPrimary, readPublic } from '../tpm/key-commands.ts';
import { listHandles } from '../tpm/platform-commands.ts';
import { parsePublicArea } from '../tpm/public-area.ts';
import { isEndorsementChild } from '../tpm/qualified-name.ts';
import { QUOTED_PCRS, verifyQuote } from '../tpm/quote.ts';
import { AK_ALGORITHMS, EK_TEMPLATES } from '../tpm/template.ts';
import { TpmClient, type TpmOptions } from './tpm-client.ts';
import { DEFAULT_TIMEOUTS, TpmExecutor } from './tpm-executor.ts';

const skip = skipWithoutSoftwareTpm();
const random = (length: number) => new Uint8Array(randomBytes(length));
let directory = '';
let tpm: SoftwareTpm;

before(async () => {
  if (skip) return;
  directory = await mkdtemp(join(tmpdir(), 'lacre-tpm-'));
  tpm = await SoftwareTpm.create({ directory });
  await tpm.start();
});

after(async () => {
  if (!skip) await tpm[Symbol.asyncDispose]();
});

async function withClient<T>(
  work: (client: TpmClient) => Promise<T>,
  address = tpm.address,
  options: TpmOptions = {},
): Promise<T> {
  const client = await TpmClient.open(address, options);
  try {
    return await work(client);
  } finally {
    await client.close();
  }
}

/** Quotes and verifies, as a server would. */
async function quoteAndVerify(client: TpmClient, akPublic: Uint8Array) {
  const extraData = random(32);
  const answer = await client.quote(extraData);
  return verifyQuote({ ...answer, key: verifyAttestationKey(parsePublicArea(akPublic)), extraData });
}

test('from EK certificate to quote', { skip }, () =>
  withClient(async (client) => {
    const { public: ekPublic, certificate } = await client.createEndorsementKey();
    const ek = parsePublicArea(ekPublic);
    assert.ok(certificate);
    const endorsement = verifyEndorsement({
      certificate,
      intermediates: await tpm.intermediates(),
      roots: [await tpm.root()],
      ek,
      now: new Date(),
    });
    assert.equal(endorsement.rootOfTrust, 'software');
    const ak = parsePublicArea((await client.createAttestationKey()).public);
    const key = verifyAttestationKey(ak);
    const secret = random(32);
    const credential = makeCredential({ ek, name: key.name, secret, random });
    const back = await client.activateCredential(credential.credentialBlob, credential.encryptedSecret);
    assert.equal(toHex(back), toHex(secret));
    const quote = await quoteAndVerify(client, ak.bytes);
    assert.ok(isEndorsementChild(quote.qualifiedSigner, ek, ak));
    const values = await client.pcrRead(QUOTED_PCRS);
    assert.ok(quote.explains(values));
    await client.pcrExtend(14, sha256());
    assert.equal((await quoteAndVerify(client, ak.bytes)).explains(values), false);
    assert.ok((await quoteAndVerify(client, ak.bytes)).explains(await client.pcrRead(QUOTED_PCRS)));
  }),
);

test('a credential for another key is not activated', { skip }, () =>
  withClient(async (client) => {
    const ek = parsePublicArea((await client.createEndorsementKey()).public);
    const first = verifyAttestationKey(parsePublicArea((await client.createAttestationKey()).public));
    const second = verifyAttestationKey(parsePublicArea((await client.createAttestationKey()).public));
    assert.notEqual(first.nameHex, second.nameHex);
    const credential = makeCredential({ ek, name: first.name, secret: random(32), random });
    await assert.rejects(client.activateCredential(credential.credentialBlob, credential.encryptedSecret), {
      code: 'tpm.response.code',
    });
    assert.ok(await quoteAndVerify(client, second.area.bytes));
  }),
);

for (const akAlgorithm of AK_ALGORITHMS) {
  test(`an attestation key ${akAlgorithm}, where asked for, is activated and quotes`, { skip }, (context) =>
    withClient(
      async (client) => {
        const ek = parsePublicArea((await client.createEndorsementKey()).public);
        const made = await client.createAttestationKey().catch(notOfThisTpm(context));
        if (made === undefined) return;
        const { name, scheme } = verifyAttestationKey(parsePublicArea(made.public));
        assert.equal(scheme.name, akAlgorithm.split('-')[0]);
        const secret = random(32);
        const { credentialBlob, encryptedSecret } = makeCredential({ ek, name, secret, random });
        assert.equal(toHex(await client.activateCredential(credentialBlob, encryptedSecret)), toHex(secret));
        const quote = await quoteAndVerify(client, made.public);
        assert.equal(quote.pcrDigestHash, scheme.hash);
        assert.ok(quote.explains(await client.pcrRead(QUOTED_PCRS)));
        assert.ok(isEndorsementChild(quote.qualifiedSigner, ek, parsePublicArea(made.public)));
      },
      tpm.address,
      { akAlgorithm },
    ),
  );
}

/** A key size that the chip does not have: TPM_RC_VALUE or TPM_RC_KEY_SIZE of a parameter (Part 2, 6.6.3). */
function notOfThisTpm(context: TestContext) {
  return (error: unknown) => {
    assert.ok(isLacreError(error, 'tpm.response.code', 'agent.tpm.no-ek'), String(error));
    context.skip(error.message);
    return undefined;
  };
}

test('PCRs of SHA-384 alone: quotes are of that bank', { skip }, async () => {
  const other = await SoftwareTpm.create({
    directory: await mkdtemp(join(tmpdir(), 'lacre-tpm-')),
    certificates: false,
    banks: 'sha384',
  });
  await other.start();
  await withClient(async (client) => {
    assert.equal(await client.pcrBank(), 'sha384');
    const { public: area } = await client.createAttestationKey();
    await client.pcrExtend(10, new Uint8Array(48).fill(7));
    const extraData = random(32);
    const key = verifyAttestationKey(parsePublicArea(area));
    const answer = await client.quote(extraData);
    const quote = verifyQuote({ ...answer, key, extraData, bank: 'sha384' });
    assert.ok(quote.explains(await client.pcrRead(QUOTED_PCRS)));
    assert.throws(() => verifyQuote({ ...answer, key, extraData }), { code: 'tpm.quote.selection' });
  }, other.address);
  await other[Symbol.asyncDispose]();
});

test('where both banks have PCRs, SHA-256 is quoted; where neither has, it is said so', { skip }, async () => {
  for (const banks of ['sha256,sha384', 'sha1']) {
    const other = await SoftwareTpm.create({
      directory: await mkdtemp(join(tmpdir(), 'lacre-tpm-')),
      certificates: false,
      banks,
    });
    await other.start();
    await withClient(async (client) => {
      if (banks === 'sha1') await assert.rejects(client.pcrBank(), { code: 'agent.tpm.no-bank' });
      else assert.equal(await client.pcrBank(), 'sha256');
    }, other.address);
    await other[Symbol.asyncDispose]();
  }
});

for (const template of EK_TEMPLATES) {
  test(`EK template ${template.name}: the TPM gives back what was sealed to its key`, { skip }, (context) =>
    withClient(
      async (client) => {
        const made = await client.createEndorsementKey().catch(notOfThisTpm(context));
        if (made === undefined) return;
        const ek = parsePublicArea(made.public);
        const { name } = verifyAttestationKey(parsePublicArea((await client.createAttestationKey()).public));
        const secret = random(32);
        const { credentialBlob, encryptedSecret } = makeCredential({ ek, name, secret, random });
        assert.equal(toHex(await client.activateCredential(credentialBlob, encryptedSecret)), toHex(secret));
      },
      tpm.address,
      { ekTemplate: template.name },
    ),
  );
}

test('nothing stays loaded: far more rounds than the TPM has slots, also with errors between', { skip }, async () => {
  for (let round = 0; round < 8; round++) {
    await withClient(async (client) => {
      await client.createEndorsementKey();
      await client.createAttestationKey();
      await assert.rejects(client.activateCredential(new Uint8Array([0, 0]), new Uint8Array([0, 0])), {
        code: 'tpm.response.code',
      });
    });
  }
  const executor = new TpmExecutor(tpm.address, DEFAULT_TIMEOUTS);
  for (const first of [0x80000000, 0x02000000, 0x03000000]) {
    assert.deepEqual(await executor.exclusive(() => executor.run(listHandles(first, 16))), []);
  }
  await executor.close();
});

test('slots that a killed client left full are freed', { skip }, async () => {
  const killed = new TpmExecutor(tpm.address, DEFAULT_TIMEOUTS);
  const [template] = EK_TEMPLATES;
  assert.ok(template);
  await killed.exclusive(async () => {
    for (let slot = 0; slot < 3; slot++) await killed.run(createEndorsementPrimary(template.public));
  });
  await killed.close(); // flushes nothing: the handles were not held
  await withClient(async (client) => {
    const { public: area } = await client.createAttestationKey();
    assert.ok(await quoteAndVerify(client, area));
  });
});

test('a saved key is the same key after a restart of the agent and of the TPM', { skip }, async () => {
  const saved = await withClient((client) => client.createAttestationKey());
  const before = await withClient(async (client) => {
    assert.deepEqual(await client.createAttestationKey(saved), saved);
    return quoteAndVerify(client, saved.public);
  });
  await tpm.restart();
  const later = await withClient(async (client) => {
    assert.deepEqual(await client.createAttestationKey(saved), saved);
    return quoteAndVerify(client, saved.public);
  });
  assert.equal(later.clock.resetCount, before.clock.resetCount + 1);
});

test('a TPM that is reset under a client is told as such, and the key comes back', { skip }, () =>
  withClient(async (client) => {
    const saved = await client.createAttestationKey();
    await tpm.restart();
    await assert.rejects(client.quote(random(32)), { code: 'agent.tpm.unavailable' });
    await assert.rejects(client.quote(random(32)), { code: 'agent.tpm.reset' });
    assert.deepEqual(await client.createAttestationKey(saved), saved);
    assert.ok(await quoteAndVerify(client, saved.public));
  }),
);

test('a saved key of another TPM, or a broken one, is replaced by a new one', { skip }, async () => {
  const other = await SoftwareTpm.create({
    directory: await mkdtemp(join(tmpdir(), 'lacre-tpm-')),
    certificates: false,
  });
  await other.start();
  const foreign = await withClient(async (client) => {
    assert.equal((await client.createEndorsementKey()).certificate, undefined);
    return client.createAttestationKey();
  }, other.address);
  await other[Symbol.asyncDispose]();
  await withClient(async (client) => {
    const made = await client.createAttestationKey(foreign);
    assert.notDeepEqual(made.public, foreign.public);
    assert.ok(await quoteAndVerify(client, made.public));
    const broken = { ...made, private: made.private.map((byte, index) => (index === 40 ? byte ^ 1 : byte)) };
    assert.notDeepEqual((await client.createAttestationKey(broken)).public, made.public);
    const empty = { private: new Uint8Array(), public: new Uint8Array() };
    assert.ok(await client.createAttestationKey(empty));
  });
});

test('a TPM that stalls is an error within the time, and of use again when it answers', { skip }, async () => {
  const proxy = await TpmProxy.start({ upstream: tpm.address, path: join(directory, 'stall.sock') });
  const client = await TpmClient.open(proxy.address, { timeoutMs: 300 });
  const saved = await client.createAttestationKey();
  proxy.isStalled = true;
  const started = performance.now();
  await assert.rejects(client.quote(random(32)), { code: 'agent.tpm.timeout' });
  const elapsedMs = performance.now() - started;
  assert.ok(elapsedMs >= 290 && elapsedMs < 1_500, `${elapsedMs} ms`);
  proxy.isStalled = false;
  await assert.rejects(client.quote(random(32)), { code: 'agent.tpm.reset' });
  assert.deepEqual(await client.createAttestationKey(saved), saved);
  assert.ok(await quoteAndVerify(client, saved.public));
  await client.close();
  await proxy.close();
});

test('operations that are called at once run one after the other', { skip }, () =>
  withClient(async (client) => {
    const { public: area } = await client.createAttestationKey();
    const quotes = await Promise.all(Array.from({ length: 20 }, () => quoteAndVerify(client, area)));
    assert.equal(quotes.length, 20);
    const mixed = [client.createEndorsementKey(), client.pcrRead(QUOTED_PCRS), quoteAndVerify(client, area)];
    assert.equal((await Promise.all(mixed)).length, 3);
  }),
);

test('an EK template that nobody knows is said so', { skip }, () =>
  withClient((client) => assert.rejects(client.createEndorsementKey(), { code: 'agent.tpm.no-ek' }), tpm.address, {
    ekTemplate: 'Z-9',
  }),
);

test('a quote needs a key; a closed client does nothing more', { skip }, async () => {
  const client = await TpmClient.open(tpm.address);
  await assert.rejects(client.quote(random(32)), { code: 'agent.tpm.reset' });
  await client.close();
  await client.close();
  await assert.rejects(client.pcrRead([0]), { code: 'agent.tpm.unavailable' });
});

test('the TPM’s persistent EK is used where it is the one of the certificate', { skip }, () =>
  withClient(async (client) => {
    const ek = await client.createEndorsementKey();
    const executor = new TpmExecutor(`${tpm.address}`, DEFAULT_TIMEOUTS);
    assert.equal(ek.handle >>> 24, 0x81);
    await client.close();
    assert.deepEqual(await executor.exclusive(() => executor.run(readPublic(ek.handle))), ek.public);
    await executor.close();
  }),
);
