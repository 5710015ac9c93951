import assert from 'node:assert/strict';
import { test } from 'node:test';
import { codeOf, Fixture, ScriptedNode } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// The EK in the inventory is shown, with an attestation key that lives in another TPM, whose host nobody has approved.

const skip = skipWithoutSoftwareTpm();

test('a credential opens only where EK and attestation key are in one TPM', { skip }, async () => {
  await using fixture = await Fixture.start();
  await using other = await ScriptedNode.boot();
  const { node, server } = fixture;
  // The TPM itself refuses to activate a credential that is for another name.
  await assert.rejects(node.enrol(server, { hello: { akPublic: other.akPublic } }), /TPM2_ActivateCredential failed/);
  // Who has no secret has to guess it, and signs with the other key all the same.
  const guess = { secret: new Uint8Array(32), hello: { akPublic: other.akPublic } };
  await assert.rejects(node.enrol(server, guess), (error) => codeOf(error) === 'tpm.quote.signature');
  const { result } = await node.enrol(server);
  assert.equal(result.host?.trusted, true, 'the honest case');
});
