import assert from 'node:assert/strict';
import { test } from 'node:test';
import { codeOf, containerOf, Fixture, requestOf, ScriptedNode } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// Somebody stole the agent's SVID and its key (A2), and speaks with them from another machine, which has a TPM of its own.

const skip = skipWithoutSoftwareTpm();

test('the agent gets an identity for its container; the thief a session, and nothing in it', { skip }, async () => {
  await using fixture = await Fixture.start();
  await using thief = await ScriptedNode.boot();
  const container = containerOf(1);
  const honest = await fixture.session(container);
  assert.equal((await honest.ask(requestOf(container))).case, 'identities');
  honest.close();

  const stolen = await thief.attest(fixture.server, fixture.identity);
  stolen.tell(container);
  stolen.send({ case: 'request', value: requestOf(container) });
  const { outcome } = await stolen.next('answer');
  assert.equal(outcome.case, 'quoteNeeded', 'evidence of the machine that it was stolen from counts for nothing');
  await stolen.evidence([requestOf(container)]);
  const error = await stolen.end();
  assert.equal(codeOf(error), 'tpm.quote.signature', String(error));
  stolen.close();

  const again = await fixture.session(container);
  assert.equal((await again.ask(requestOf(container))).case, 'identities', 'the agent comes back');
  again.close();
});
