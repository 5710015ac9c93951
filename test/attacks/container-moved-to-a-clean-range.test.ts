import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containerOf, digestOf, Fixture, requestOf, uidOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// A container executed a bad file. The agent (A2) tells of it again by the same id, in a range where nothing bad, or nothing
// at all, was executed; or of another container in the tainted range.

const skip = skipWithoutSoftwareTpm();
const rangeOf = (number: number) => [
  { $typeName: 'lacre.v1.IdExtent' as const, inside: 0, outside: uidOf(number), length: 1024 },
];

test('neither a new range nor a new occupant gets an identity', { skip }, async () => {
  await using fixture = await Fixture.start();
  const container = containerOf(1);
  const session = await fixture.session(container);
  assert.equal((await session.ask(requestOf(container))).case, 'identities');
  await fixture.node.kernel.measureContainer({ path: '/tmp/miner', sha256: digestOf('miner') }, { uid: uidOf(1) });
  await session.sendList();
  assert.equal((await session.next('withdrawal')).refusal?.code, 'appraisal.file.unknown');

  const moved = containerOf(1, { uidMap: rangeOf(5) });
  session.tellMore(moved);
  const empty = await session.ask(requestOf(moved));
  assert.ok(empty.case === 'refusal');
  assert.equal(empty.value.code, 'appraisal.entrypoint.missing', 'nothing says that it ran there');

  const heir = containerOf(2, { uidMap: rangeOf(1) });
  session.sayGone(moved);
  session.tellMore(heir);
  const inherited = await session.ask(requestOf(heir));
  assert.ok(inherited.case === 'refusal');
  assert.equal(inherited.value.code, 'appraisal.file.unknown', 'a bad entry stays in its range');
  session.close();
});
