import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containerOf, digestOf, Fixture, requestOf, uidOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// Code in a container (A1) of exact attribution writes a program into its own volume, or into /dev/shm, and executes it there: the file's
// owner is of the container's range, so the entry is the container's.

const skip = skipWithoutSoftwareTpm();

for (const path of ['/data/miner', '/dev/shm/miner']) {
  test(`${path} fails the container whose range owns it, and no other`, { skip }, async () => {
    await using fixture = await Fixture.start();
    const [writer, neighbour] = [containerOf(1), containerOf(2)];
    const session = await fixture.session(writer, neighbour);
    for (const each of [writer, neighbour]) assert.equal((await session.ask(requestOf(each))).case, 'identities');
    await fixture.node.kernel.measureContainer({ path, sha256: digestOf('miner') }, { uid: uidOf(1) + 33 });
    await session.sendList();
    const { containerId, refusal } = await session.next('withdrawal');
    assert.deepEqual([containerId, refusal?.code], [writer.id, 'appraisal.file.unknown']);
    assert.equal((await session.ask(requestOf(neighbour))).case, 'identities');
    session.close();
  });
}
