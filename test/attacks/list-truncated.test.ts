import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containerOf, digestOf, Fixture, requestOf, uidOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// The agent (A2) sends a list that ends before the bad entry, with a genuine quote.

const skip = skipWithoutSoftwareTpm();

test('a list explains what the TPM quoted, or it is no evidence', { skip }, async () => {
  await using fixture = await Fixture.start();
  const [container, neighbour] = [containerOf(1), containerOf(2)];
  const session = await fixture.session(container, neighbour);
  assert.equal((await session.ask(requestOf(container))).case, 'identities');
  const good = session.sentBytes;
  await fixture.node.kernel.measureContainer({ path: '/tmp/miner', sha256: digestOf('miner') }, { uid: uidOf(1) });
  await session.evidence([requestOf(container)], { listUpTo: good });
  const { outcome } = await session.next('answer');
  assert.ok(outcome.case === 'refusal');
  assert.equal(outcome.value.code, 'ima.prefix.unexplained');
  const honest = await session.ask(requestOf(neighbour));
  assert.equal(honest.case, 'identities', 'with the whole list the neighbour is served');
  session.close();
});
