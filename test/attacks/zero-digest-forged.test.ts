import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containerOf, digestOf, Fixture, requestOf, uidOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';
import { splitList } from '../simulator/split-list.ts';

// A logged template digest of zeros means a violation, which says nothing of a file: the bad entry's own is overwritten with zeros, so
// that it counts as one.

const skip = skipWithoutSoftwareTpm();

test('what stands for a violation folds as one, and the list no longer explains the quote', { skip }, async () => {
  await using fixture = await Fixture.start();
  const { node } = fixture;
  const container = containerOf(1);
  const session = await fixture.session(container);
  assert.equal((await session.ask(requestOf(container))).case, 'identities');
  session.close();
  await node.kernel.measureContainer({ path: '/tmp/miner', sha256: digestOf('miner') }, { uid: uidOf(1) });
  const entries = splitList(await node.list());
  entries.at(-1)?.fill(0, 4, 24);
  const liar = await node.attest(fixture.server, fixture.identity);
  liar.tell(container);
  const data = new Uint8Array(Buffer.concat(entries));
  liar.send({ case: 'list', value: { offset: 0n, data } });
  liar.sentBytes = data.length;
  await liar.evidence([requestOf(container)], { listUpTo: 0 });
  const { outcome } = await liar.next('answer');
  assert.ok(outcome.case === 'refusal');
  assert.equal(outcome.value.code, 'ima.prefix.unexplained');
  liar.close();
});
