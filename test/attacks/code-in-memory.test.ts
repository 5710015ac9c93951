import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containerOf, digestOf, Fixture, requestOf, uidOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// Code in a container (A1) executes a memfd that holds the very bytes of the image's program, and rewrites it through its own
// descriptor. The entry has the right digest, and says nothing of what ran.

const skip = skipWithoutSoftwareTpm();

test('a name that is no path is never allowed in a range, whatever its digest', { skip }, async () => {
  await using fixture = await Fixture.start();
  const [container, neighbour] = [containerOf(1), containerOf(2)];
  const session = await fixture.session(container, neighbour);
  for (const each of [container, neighbour]) assert.equal((await session.ask(requestOf(each))).case, 'identities');
  const file = { path: 'memfd:app (deleted)', sha256: digestOf('image /bin/app') };
  await fixture.node.kernel.measureContainer(file, { uid: uidOf(1) });
  await session.sendList();
  const { containerId, refusal } = await session.next('withdrawal');
  assert.deepEqual([containerId, refusal?.code], [container.id, 'ima.name.unknown']);
  const again = await session.ask(requestOf(container));
  assert.ok(again.case === 'refusal');
  assert.equal(again.value.code, 'ima.name.unknown');
  assert.equal((await session.ask(requestOf(neighbour))).case, 'identities');
  session.close();
});
