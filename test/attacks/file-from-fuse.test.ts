import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containerOf, digestOf, Fixture, requestOf, uidOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// Code in a container (A1) mounts a file system of its own, which shows IMA the image's bytes and executes others. The policy
// sends what is executed from there to PCR 14.

const skip = skipWithoutSoftwareTpm();

test('what comes from an untrusted file system fails its domain, with path and digest right', { skip }, async () => {
  await using fixture = await Fixture.start();
  const [container, neighbour] = [containerOf(1), containerOf(2)];
  const session = await fixture.session(container, neighbour);
  for (const each of [container, neighbour]) assert.equal((await session.ask(requestOf(each))).case, 'identities');
  const file = { path: '/bin/app', sha256: digestOf('image /bin/app') };
  await fixture.node.kernel.measureContainer(file, { uid: uidOf(1) }, 14);
  await session.sendList();
  const { containerId, refusal } = await session.next('withdrawal');
  assert.deepEqual([containerId, refusal?.code], [container.id, 'ima.filesystem.untrusted']);
  const again = await session.ask(requestOf(container));
  assert.ok(again.case === 'refusal');
  assert.equal(again.value.code, 'ima.filesystem.untrusted');
  assert.equal((await session.ask(requestOf(neighbour))).case, 'identities');
  session.close();
});
