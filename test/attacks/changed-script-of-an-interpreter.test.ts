import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containerOf, digestOf, Fixture, requestOf, uidOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// The script or configuration that an approved interpreter reads is changed: what is executed is as it was.

const skip = skipWithoutSoftwareTpm();

const closed = (number: number) =>
  containerOf(number, {
    rootReadOnly: true,
    mounts: containerOf(number).mounts.map((mount) => ({ ...mount, readOnly: true })),
  });

test('on a read-only root a changed file that was read is refused with its path', { skip }, async () => {
  await using fixture = await Fixture.start();
  const [tampered, neighbour] = [closed(1), closed(2)];
  const session = await fixture.session(tampered, neighbour);
  assert.equal((await session.ask(requestOf(tampered))).case, 'identities');
  const file = { path: '/srv/main.py', sha256: digestOf('changed') };
  await fixture.node.kernel.measureContainer(file, { uid: uidOf(1) }, 13);
  await session.sendList();
  const { containerId, refusal } = await session.next('withdrawal');
  assert.deepEqual([containerId, refusal?.code], [tampered.id, 'appraisal.file.unknown']);
  assert.match(refusal?.sentence ?? '', /\/srv\/main\.py was read/);
  assert.equal((await session.ask(requestOf(neighbour))).case, 'identities');
  session.close();
});
