import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containerOf, digestOf, Fixture, requestOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// Code in a container that can execute from a tmpfs (A1) puts a program of its own there, so mounted that its path is that of a program
// of the image.

const skip = skipWithoutSoftwareTpm();

const root = containerOf(2).mounts;
const tmpfs = { target: '/bin', type: 'tmpfs', root: '/', readOnly: false, noexec: false, sourceKind: 'tmpfs' };
const mounts = [...root, { $typeName: 'lacre.v1.Mount' as const, ...tmpfs, superOptions: '', peer: '0:999' }];

test('a path says nothing without its digest and its owner', { skip }, async () => {
  await using fixture = await Fixture.start();
  const [open, closed] = [containerOf(2, { mounts }), containerOf(3)];
  const session = await fixture.session(open, closed);
  for (const container of [open, closed]) assert.equal((await session.ask(requestOf(container))).case, 'identities');
  await fixture.node.kernel.measureContainer({ path: '/bin/app', sha256: digestOf('miner') }, { uid: 0 });
  const outcome = await session.ask(requestOf(open));
  assert.ok(outcome.case === 'refusal');
  assert.equal(outcome.value.code, 'appraisal.file.unattributed');
  assert.equal((await session.ask(requestOf(closed))).case, 'identities', 'who has no such mount keeps its identity');
  session.close();
});
