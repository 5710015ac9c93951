import assert from 'node:assert/strict';
import { copyFile, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { TpmClient } from '../../src/agent/tpm-client.ts';
import { parseQuote } from '../../src/tpm/attest.ts';
import { codeOf, containerOf, Fixture, requestOf } from '../simulator/scripted-node.ts';
import { SoftwareTpm, skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// The state of a software TPM is copied to a second machine (tier `software` has no defence against the copy itself): both have one EK
// and one attestation key. The copy was made while the host was good, and the machine that it runs on is not.

const skip = skipWithoutSoftwareTpm();

test('of two machines with one TPM only the newer session is served, and its list must explain its own PCRs', {
  skip,
}, async () => {
  await using fixture = await Fixture.start();
  const { node, server } = fixture;
  const container = containerOf(1);
  const session = await fixture.session(container);
  assert.equal((await session.ask(requestOf(container))).case, 'identities');

  const directory = await mkdtemp(join(tmpdir(), 'lacre-copy-'));
  await copyFile(join(node.tpm.directory, 'tpm2-00.permall'), join(directory, 'tpm2-00.permall'));
  const copy = SoftwareTpm.at(directory);
  await copy.start();
  const client = await TpmClient.open(copy.address);
  const { public: ekPublic } = await client.createEndorsementKey();
  assert.deepEqual(ekPublic, node.ekPublic, 'it is the same chip');
  await client.createAttestationKey(node.attestationKey);

  // The copy's PCRs are those of a machine that was just switched on: the good machine's list does not explain them.
  const stolen = await node.attest(server, fixture.identity);
  assert.equal(codeOf(await session.end()), 'server.store.fenced', 'the older session is told');
  stolen.tell(container);
  const request = requestOf(container);
  const nonce = await stolen.nonce();
  const { extraData } = parseQuote((await stolen.quoteFor([request], nonce)).attest);
  await stolen.evidence([request], { nonce, quote: await client.quote(extraData) });
  const { outcome } = await stolen.next('answer');
  assert.ok(outcome.case === 'refusal');
  assert.equal(outcome.value.code, 'ima.prefix.unexplained');
  for (const one of [session, stolen]) one.close();
  await client.close();
  await copy[Symbol.asyncDispose]();
  const again = await fixture.session(container);
  assert.equal((await again.ask(requestOf(container))).case, 'identities', 'the honest machine comes back');
  again.close();
});
