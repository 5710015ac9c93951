import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import { parseQuote } from '../../src/tpm/attest.ts';
import { ALG } from '../../src/tpm/constants.ts';
import { codeOf, containerOf, Fixture, requestOf, ScriptedNode } from '../simulator/scripted-node.ts';
import { softSignature } from '../simulator/soft-key.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// The host is bad (A2), so a quote is made by the TPM of a clean machine, or by a key in software, over just the extra data that the
// server expects.

const skip = skipWithoutSoftwareTpm();

test('only the attestation key that was activated signs evidence', { skip }, async () => {
  await using fixture = await Fixture.start();
  await using clean = await ScriptedNode.boot();
  const container = containerOf(1);
  const session = await fixture.session(container);
  assert.equal((await session.ask(requestOf(container))).case, 'identities');
  const request = requestOf(container);
  const nonce = await session.nonce();
  const own = await session.quoteFor([request], nonce);
  const { extraData } = parseQuote(own.attest);
  await session.evidence([request], { nonce, quote: await clean.client.quote(extraData) });
  assert.equal(codeOf(await session.end()), 'tpm.quote.signature');
  session.close();

  const again = await fixture.session(container);
  const forged = requestOf(container);
  const fresh = await again.nonce();
  const { attest } = await again.quoteFor([forged], fresh);
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  await again.evidence([forged], {
    nonce: fresh,
    quote: { attest, signature: softSignature(privateKey, ALG.ECDSA, 'sha256', attest) },
  });
  assert.equal(codeOf(await again.end()), 'tpm.quote.signature');
  again.close();
});
