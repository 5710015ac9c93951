import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containerOf, digestOf, Fixture, requestOf, uidOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// Code in a container (A1) names its file so that a reader of lines sees an entry of the image's program.

const skip = skipWithoutSoftwareTpm();

test('a name is one name, however it is written', { skip }, async () => {
  await using fixture = await Fixture.start();
  const [container, neighbour] = [containerOf(1), containerOf(2)];
  const session = await fixture.session(container, neighbour);
  for (const each of [container, neighbour]) assert.equal((await session.ask(requestOf(each))).case, 'identities');
  const file = { path: '/tmp/x\\n10 0000 evm-sig sha256:00 /bin/app', sha256: digestOf('miner') };
  await fixture.node.kernel.measureContainer(file, { uid: uidOf(1) });
  await session.sendList();
  const { containerId, refusal } = await session.next('withdrawal');
  assert.deepEqual([containerId, refusal?.code], [container.id, 'appraisal.file.unknown']);
  const again = await session.ask(requestOf(container));
  assert.ok(again.case === 'refusal');
  assert.equal(again.value.code, 'appraisal.file.unknown');
  assert.equal((await session.ask(requestOf(neighbour))).case, 'identities');
  session.close();
});
