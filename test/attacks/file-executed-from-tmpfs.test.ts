import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containerOf, digestOf, Fixture, requestOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// Code in a container (A1) executes a file from a tmpfs, /dev/shm or a bind mount: its entry has an owner below the pool, so
// it says nothing of whose it is. It fails those that could have made it, and those alone.

const skip = skipWithoutSoftwareTpm();

function tmpfs(noexec: boolean) {
  const root = containerOf(2).mounts;
  const mount = { target: '/run', type: 'tmpfs', root: '/', readOnly: false, noexec, sourceKind: 'tmpfs' };
  return [...root, { $typeName: 'lacre.v1.Mount' as const, ...mount, superOptions: '', peer: '0:999' }];
}

test('who has no place to execute it from keeps its identity', { skip }, async () => {
  await using fixture = await Fixture.start();
  const [open, closed, hidden] = [containerOf(2, { mounts: tmpfs(false) }), containerOf(3), containerOf(4)];
  const session = await fixture.session(open, closed, hidden);
  for (const container of [open, closed, hidden]) {
    assert.equal((await session.ask(requestOf(container))).case, 'identities');
  }
  await fixture.node.kernel.measureContainer({ path: '/run/miner', sha256: digestOf('miner') }, { uid: 0 });
  await session.sendList();
  const { containerId, refusal } = await session.next('withdrawal');
  assert.deepEqual([containerId, refusal?.code], [open.id, 'appraisal.file.unattributed']);
  assert.equal((await session.ask(requestOf(closed))).case, 'identities');

  // Told as closed from now on, it stays open for the epoch.
  const shut = containerOf(2, { mounts: tmpfs(true) });
  session.tellMore(shut);
  const outcome = await session.ask(requestOf(shut));
  assert.ok(outcome.case === 'refusal');
  assert.equal(outcome.value.code, 'appraisal.file.unattributed');
  session.close();
});
