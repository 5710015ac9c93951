import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containerOf, digestOf, Fixture, requestOf, uidOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// Code in a container (A1) puts a program of the image in the place of another one, where something else starts it.

const skip = skipWithoutSoftwareTpm();

test('path and digest must belong together', { skip }, async () => {
  await using fixture = await Fixture.start();
  const [container, neighbour] = [containerOf(1), containerOf(2)];
  const session = await fixture.session(container, neighbour);
  for (const each of [container, neighbour]) assert.equal((await session.ask(requestOf(each))).case, 'identities');
  const file = { path: '/bin/helper', sha256: digestOf('image /bin/app') };
  await fixture.node.kernel.measureContainer(file, { uid: uidOf(1) });
  await session.sendList();
  const { containerId, refusal } = await session.next('withdrawal');
  assert.deepEqual([containerId, refusal?.code], [container.id, 'appraisal.file.unexpected']);
  const again = await session.ask(requestOf(container));
  assert.ok(again.case === 'refusal');
  assert.equal(again.value.code, 'appraisal.file.unexpected');
  assert.equal((await session.ask(requestOf(neighbour))).case, 'identities');
  session.close();
});
