import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containerOf, digestOf, Fixture, requestOf, uidOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// Two quotes are made over two nonces, one before and one after the container executed a bad file. The newer is handed in first; then
// the older, which knows of nothing bad.

const skip = skipWithoutSoftwareTpm();

test('a quote that only a part of the proven list explains is no evidence', { skip }, async () => {
  await using fixture = await Fixture.start();
  const [container, neighbour] = [containerOf(1), containerOf(2)];
  const session = await fixture.session(container, neighbour);
  const [early, late] = [requestOf(container), requestOf(container)];
  const nonces = [await session.nonce(), await session.nonce()] as const;
  const before = await session.quoteFor([early], nonces[0]);
  await fixture.node.kernel.measureContainer({ path: '/tmp/miner', sha256: digestOf('miner') }, { uid: uidOf(1) });
  await session.evidence([late], { nonce: nonces[1] });
  const proven = (await session.next('answer')).outcome;
  assert.ok(proven.case === 'refusal');
  assert.equal(proven.value.code, 'appraisal.file.unknown');
  await session.evidence([early], { nonce: nonces[0], quote: before });
  const outcome = await session
    .next('answer')
    .then((answer) => answer.outcome)
    .catch(() => undefined);
  assert.ok(outcome === undefined || outcome.case === 'refusal', outcome?.case);
  session.close();
  const honest = await fixture.session(container, neighbour);
  assert.equal((await honest.ask(requestOf(neighbour))).case, 'identities', 'the neighbour is as it was');
  assert.equal((await honest.ask(requestOf(container))).case, 'refusal');
  honest.close();
});
