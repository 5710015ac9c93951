import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containerOf, digestOf, Fixture, requestOf, uidOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// A program is called boot_aggregate, which is the one name that is no path and that a list may hold: by the host, or in a container.

const skip = skipWithoutSoftwareTpm();

test('the name counts as the first entry alone', { skip }, async () => {
  await using fixture = await Fixture.start();
  const { node } = fixture;
  const [container, neighbour] = [containerOf(1), containerOf(2)];
  const session = await fixture.session(container, neighbour);
  assert.equal((await session.ask(requestOf(container))).case, 'identities');
  await node.kernel.measureContainer({ path: 'boot_aggregate', sha256: digestOf('miner') }, { uid: uidOf(1) });
  const outcome = await session.ask(requestOf(container));
  assert.ok(outcome.case === 'refusal');
  assert.equal(outcome.value.code, 'ima.name.unknown');
  assert.equal((await session.ask(requestOf(neighbour))).case, 'identities');
  await node.kernel.measureHost({ path: 'boot_aggregate', sha256: digestOf('another kernel') });
  const all = await session.ask(requestOf(neighbour));
  assert.ok(all.case === 'refusal');
  assert.ok(
    all.value.verdict?.findings.some(({ detail }) => detail.includes('ima.aggregate.repeated')),
    all.value.sentence,
  );
  session.close();
});
