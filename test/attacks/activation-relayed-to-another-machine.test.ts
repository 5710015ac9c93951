import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { makeCredential } from '../../src/tpm/credential.ts';
import { parsePublicArea } from '../../src/tpm/public-area.ts';
import { Fixture, ScriptedNode } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// A machine shows the EK of a node in the inventory, and has the challenge answered by that node, which would answer it to anybody who
// asks its TPM; or it tries to answer with its own TPM.

const skip = skipWithoutSoftwareTpm();

test('the node’s TPM answers only for an attestation key of its own', { skip }, async () => {
  await using fixture = await Fixture.start();
  await using liar = await ScriptedNode.boot();
  const credential = makeCredential({
    ek: parsePublicArea(fixture.node.ekPublic),
    name: liar.akName,
    secret: new Uint8Array(32).fill(7),
    random: (length) => new Uint8Array(randomBytes(length)),
  });
  const { credentialBlob, encryptedSecret } = credential;
  await assert.rejects(liar.client.activateCredential(credentialBlob, encryptedSecret), { code: 'tpm.response.code' });
  await assert.rejects(fixture.node.client.activateCredential(credentialBlob, encryptedSecret), {
    code: 'tpm.response.code',
  });
});
