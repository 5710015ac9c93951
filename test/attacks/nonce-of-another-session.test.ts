import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containerOf, Fixture, requestOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// Evidence is made over a nonce that the server did give out, and has not seen again: to another session of the same node.

const skip = skipWithoutSoftwareTpm();

test('a nonce serves the session that it was given to', { skip }, async () => {
  await using fixture = await Fixture.start();
  const container = containerOf(1);
  const first = await fixture.session(container);
  const foreign = await first.nonce();
  first.close();
  const session = await fixture.session(container);
  const request = requestOf(container);
  await session.evidence([request], { nonce: foreign });
  assert.equal((await session.next('answer')).outcome.case, 'quoteNeeded', 'no evidence');
  assert.deepEqual(fixture.server.loggedCodes, ['server.nonce.unknown']);
  assert.equal((await session.ask(requestOf(container))).case, 'identities', 'its own nonce is one');
  session.close();
});
