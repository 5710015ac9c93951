import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containerOf, digestOf, Fixture, requestOf, uidOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// A bad file was executed as one of the container's last uids. The agent, bad by now (A2), tells of the same container with
// a range that ends before them, so that the entry is nobody's.

const skip = skipWithoutSoftwareTpm();
const uidMap = (length: number) => [{ $typeName: 'lacre.v1.IdExtent' as const, inside: 0, outside: uidOf(1), length }];

test('a range that shrinks within an epoch takes the identity, not the blame', { skip }, async () => {
  await using fixture = await Fixture.start();
  const [container, other] = [containerOf(1), containerOf(2)];
  const session = await fixture.session(container, other);
  assert.equal((await session.ask(requestOf(container))).case, 'identities');
  await fixture.node.kernel.measureContainer(
    { path: '/tmp/miner', sha256: digestOf('miner') },
    { uid: uidOf(1) + 1000 },
  );
  const shorter = containerOf(1, { uidMap: uidMap(512) });
  session.tellMore(shorter);
  const refused = await session.ask(requestOf(shorter));
  assert.ok(refused.case === 'refusal');
  assert.equal(refused.value.code, 'container.attribution.host', refused.value.sentence);
  assert.equal((await session.ask(requestOf(other))).case, 'identities', 'its neighbour keeps its own');
  session.close();

  await fixture.server.restart();
  const later = await fixture.session(shorter, other);
  const after = await later.ask(requestOf(shorter));
  assert.ok(after.case === 'refusal', 'and the server remembers the range over its own end');
  assert.equal(after.value.code, 'container.attribution.host', after.value.sentence);
  later.close();
});
