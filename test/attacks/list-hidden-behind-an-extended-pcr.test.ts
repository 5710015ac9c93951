import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containerOf, digestOf, Fixture, requestOf, uidOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// The agent (A2) cuts the bad entry out and extends PCR 10 itself, in the hope that some list explains the value.

const skip = skipWithoutSoftwareTpm();

test('what the kernel did not log is explained by nothing, for the rest of the boot', { skip }, async () => {
  await using fixture = await Fixture.start();
  const { node, server } = fixture;
  const container = containerOf(1);
  const toldOfHost = async () => {
    const [info] = (await server.admin.why({ subject: node.spiffeId })).nodes;
    return [info?.host?.trusted, ...(info?.host?.findings ?? []).filter((f) => f.fatal).map(({ code }) => code)];
  };
  const session = await fixture.session(container);
  assert.equal((await session.ask(requestOf(container))).case, 'identities');
  await session.sendList();
  assert.deepEqual(await toldOfHost(), [true]);
  await node.client.pcrExtend(10, digestOf('whatever would lead back'));
  await node.kernel.measureContainer({ path: '/tmp/miner', sha256: digestOf('miner') }, { uid: uidOf(1) });
  for (const listUpTo of [session.sentBytes, undefined]) {
    await session.evidence([requestOf(container)], listUpTo === undefined ? {} : { listUpTo });
    const { outcome } = await session.next('answer');
    assert.ok(outcome.case === 'refusal');
    assert.equal(outcome.value.code, 'ima.prefix.unexplained');
    assert.deepEqual(await toldOfHost(), [false, 'ima.list.unexplained']);
  }
  await node.kernel.measureContainer({ path: '/mnt/app', sha256: digestOf('whatever') }, { uid: 0 }, 14);
  await session.sendList();
  await session.next('withdrawal');
  assert.deepEqual(
    await toldOfHost(),
    [false, 'ima.list.unexplained'],
    'what lowers a good host makes no good one of it',
  );
  session.close();
});
