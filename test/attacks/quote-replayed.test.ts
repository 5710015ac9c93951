import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containerOf, digestOf, Fixture, requestOf, uidOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// A liar of an agent (A2) hands in evidence once more that was good, word for word, after the container did something bad.

const skip = skipWithoutSoftwareTpm();

test('a nonce is taken once', { skip }, async () => {
  await using fixture = await Fixture.start();
  const container = containerOf(1);
  const session = await fixture.session(container);
  const request = requestOf(container);
  const nonce = await session.nonce();
  const quote = await session.quoteFor([request], nonce);
  await session.evidence([request], { nonce, quote });
  assert.equal((await session.next('answer')).outcome.case, 'identities');
  const good = session.sentBytes;
  await fixture.node.kernel.measureContainer({ path: '/tmp/miner', sha256: digestOf('miner') }, { uid: uidOf(1) });
  await session.evidence([request], { nonce, quote, listUpTo: good });
  const { id, outcome } = await session.next('answer');
  assert.deepEqual([id, outcome.case], [request.id, 'quoteNeeded'], 'no evidence');
  assert.deepEqual(fixture.server.loggedCodes, ['server.nonce.unknown']);
  const honest = await session.ask(requestOf(container));
  assert.ok(honest.case === 'refusal');
  assert.equal(honest.value.code, 'appraisal.file.unknown');
  session.close();
});
