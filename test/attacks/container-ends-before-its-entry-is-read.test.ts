import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { containerOf, digestOf, Fixture, requestOf, uidOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// Code in a container (A1) executes a file of its own, copies the SVID and its key out, and ends the container before the
// agent reads the list. Nobody is there any more to be judged for the entry; the SVID must not live on.

const skip = skipWithoutSoftwareTpm();
let fixture: Fixture;
before(async () => {
  if (!skip) fixture = await Fixture.start();
});
after(() => fixture?.[Symbol.asyncDispose]());

async function valid(name: string): Promise<readonly string[] | undefined> {
  return (await fixture.server.admin.why({ subject: name })).workloads[0]?.spiffeIds;
}

test('a container that stays keeps its identity', { skip }, async () => {
  const container = containerOf(1);
  const session = await fixture.session(container);
  assert.equal((await session.ask(requestOf(container))).case, 'identities');
  await session.evidence();
  await session.next('node');
  assert.deepEqual(await valid('app-1'), ['spiffe://lacre.test/orders']);
  session.close();
});

test('an SVID ends with its container, in the session that gave it', { skip }, async () => {
  const container = containerOf(2);
  const session = await fixture.session(container);
  assert.equal((await session.ask(requestOf(container))).case, 'identities');
  await fixture.node.kernel.measureContainer({ path: '/tmp/thief', sha256: digestOf('thief') }, { uid: uidOf(2) });
  session.sayGone(container);
  await session.evidence();
  await session.next('node');
  await session.next('node');
  assert.deepEqual(await valid('app-2'), []);
  session.close();
});

test('and where the container ended while the agent was away', { skip }, async () => {
  const container = containerOf(3);
  const first = await fixture.session(container);
  assert.equal((await first.ask(requestOf(container))).case, 'identities');
  first.close();
  await fixture.node.kernel.measureContainer({ path: '/tmp/thief', sha256: digestOf('thief') }, { uid: uidOf(3) });
  const later = await fixture.session();
  await later.evidence();
  await later.next('node');
  assert.deepEqual(await valid('app-3'), []);
  later.close();
});

test('a container that only seemed to be gone is told to ask again, and gets another SVID', { skip }, async () => {
  const container = containerOf(4);
  const session = await fixture.session(container);
  assert.equal((await session.ask(requestOf(container))).case, 'identities');
  session.sayGone(container);
  const { containerId, refusal } = await session.next('withdrawal');
  assert.deepEqual([containerId, refusal?.code, refusal?.retry], [container.id, 'server.workload.unknown', true]);
  session.tellMore(container);
  assert.equal((await session.ask(requestOf(container))).case, 'identities');
  assert.deepEqual(await valid('app-4'), ['spiffe://lacre.test/orders']);
  session.close();
});
