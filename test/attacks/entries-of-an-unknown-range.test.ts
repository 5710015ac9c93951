import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { containerOf, digestOf, Fixture, requestOf, uidOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// A file whose owner is in no range that was told: left on a volume by a container that is gone, or of one that the agent
// (A2) hides. It is an alert, and fails those who could have executed it.

const skip = skipWithoutSoftwareTpm();
const open = { target: '/data', type: 'ext4', root: '/volumes/data', readOnly: false, noexec: false };

test('an entry that waits in vain for its container counts against open ones', { skip }, async () => {
  let aheadMs = 0;
  await using fixture = await Fixture.start('', { now: () => new Date(Date.now() + aheadMs) });
  const volume = { $typeName: 'lacre.v1.Mount' as const, ...open, sourceKind: 'volume', superOptions: '', peer: '8:1' };
  const [closed, loose] = [containerOf(1), containerOf(2, { mounts: [...containerOf(2).mounts, volume] })];
  const session = await fixture.session(closed, loose);
  for (const each of [closed, loose]) assert.equal((await session.ask(requestOf(each))).case, 'identities');
  const stop = new AbortController();
  const alerts: string[] = [];
  const watching = (async () => {
    for await (const { kind, sentence } of fixture.server.admin.watch({}, { signal: stop.signal }))
      if (kind === 'alert') alerts.push(sentence);
  })();
  watching.catch(() => undefined);
  await delay(100);
  await fixture.node.kernel.measureContainer({ path: '/data/miner', sha256: digestOf('miner') }, { uid: uidOf(99) });
  await session.evidence();
  for (let quotes = 0; quotes < 3; quotes++) await session.next('node');
  aheadMs = 6_000;
  const { containerId, refusal } = await session.next('withdrawal');
  assert.deepEqual([containerId, refusal?.code], [loose.id, 'appraisal.file.unattributed']);
  await delay(50);
  stop.abort();
  await watching.catch(() => undefined);
  assert.match(alerts.join(), /1 entries of uid ranges that no container was recorded for/);
  session.close();
});
