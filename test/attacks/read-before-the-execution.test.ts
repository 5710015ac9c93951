import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containerOf, digestOf, Fixture, requestOf, uidOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// A bad program is read before it is executed (the kernel logs no content twice in one PCR), to have the execution pass as the read.

const skip = skipWithoutSoftwareTpm();

test('reads and executions are told apart by their PCR', { skip }, async () => {
  await using fixture = await Fixture.start();
  const [container, neighbour] = [containerOf(1), containerOf(2)];
  const session = await fixture.session(container, neighbour);
  const file = { path: '/data/report', sha256: digestOf('miner') };
  await fixture.node.kernel.measureContainer(file, { uid: uidOf(1) }, 13);
  const read = await session.ask(requestOf(container));
  assert.equal(read.case, 'identities', 'on a writable root a read fails nobody');
  assert.ok(
    await fixture.node.kernel.measureContainer(file, { uid: uidOf(1) }),
    'the execution has an entry of its own',
  );
  const executed = await session.ask(requestOf(container));
  assert.ok(executed.case === 'refusal');
  assert.equal(executed.value.code, 'appraisal.file.unknown');
  assert.equal((await session.ask(requestOf(neighbour))).case, 'identities');
  session.close();
});
