import assert from 'node:assert/strict';
import { test } from 'node:test';
import { codeOf, containerOf, Fixture, requestOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// Evidence carries a request that the quoted tree does not hold, or says another count than the tree was made of: something is to be
// issued that no TPM signed for.

const skip = skipWithoutSoftwareTpm();

test('the server makes the tree itself, of all that is asked for', { skip }, async () => {
  await using fixture = await Fixture.start();
  const [container, other] = [containerOf(1), containerOf(2)];
  const honest = await fixture.session(container, other);
  await honest.evidence([requestOf(container), requestOf(other)]);
  for (const _ of [1, 2]) assert.equal((await honest.next('answer')).outcome.case, 'identities');
  honest.close();
  const asked = [requestOf(container), requestOf(other)];
  for (const change of [{ quoted: asked.slice(0, 1) }, { quoted: [] }, { count: 3 }, { quoted: asked.toReversed() }]) {
    const session = await fixture.session(container, other);
    await session.evidence(asked, change);
    assert.equal(codeOf(await session.end()), 'tpm.quote.extra-data', JSON.stringify(Object.keys(change)));
    assert.ok(!session.received.some((message) => message.case === 'answer'));
    session.close();
  }
});
