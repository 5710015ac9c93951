import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containerOf, digestOf, Fixture, requestOf, uidOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// The server crashes or is restarted right after a bad entry was proven. The agent (A2) hopes that it has forgotten, and sends
// a list that ends before the entry, or one in which the entry is about another file.

const skip = skipWithoutSoftwareTpm();

test('the whole list is replayed, and must explain the quote', { skip }, async () => {
  await using fixture = await Fixture.start();
  const [container, neighbour] = [containerOf(1), containerOf(2)];
  const session = await fixture.session(container, neighbour);
  const good = (await fixture.node.list()).length;
  await fixture.node.kernel.measureContainer({ path: '/tmp/miner', sha256: digestOf('miner') }, { uid: uidOf(1) });
  const proven = await session.ask(requestOf(container));
  assert.ok(proven.case === 'refusal');
  assert.equal(proven.value.code, 'appraisal.file.unknown');
  session.close();
  await fixture.server.restart();

  const cut = await fixture.node.attest(fixture.server, fixture.identity);
  cut.tell(container);
  await cut.evidence([requestOf(container)], { listUpTo: good });
  const short = (await cut.next('answer')).outcome;
  assert.ok(short.case === 'refusal');
  assert.equal(short.value.code, 'ima.prefix.unexplained');
  cut.close();

  const changed = await fixture.node.attest(fixture.server, fixture.identity);
  changed.tell(container);
  const list = Buffer.from(await fixture.node.list());
  const name = list.lastIndexOf('/tmp/miner');
  list.write('/bin/niner', name, 'latin1');
  changed.send({ case: 'list', value: { offset: 0n, data: new Uint8Array(list) } });
  changed.sentBytes = list.length;
  await changed.evidence([requestOf(container)]);
  const renamed = (await changed.next('answer')).outcome;
  assert.ok(renamed.case === 'refusal');
  assert.equal(renamed.value.code, 'ima.prefix.unexplained');
  changed.close();

  const honest = await fixture.node.attest(fixture.server, fixture.identity);
  honest.tell(container, neighbour);
  await fixture.run(neighbour);
  const again = await honest.ask(requestOf(container));
  assert.ok(again.case === 'refusal');
  assert.equal(again.value.code, 'appraisal.file.unknown');
  assert.equal((await honest.ask(requestOf(neighbour))).case, 'identities');
  honest.close();
});
