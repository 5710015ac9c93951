import assert from 'node:assert/strict';
import { containerOf, digestOf, Fixture, requestOf, uidOf } from '../simulator/scripted-node.ts';
import { splitList } from '../simulator/split-list.ts';

/**
 * Not an attack: the frame of those that send another list than the kernel's. The last two entries are a bad one of one
 * container and a good one of its neighbour; what `forge` makes of all of them is no evidence, and the true list is.
 * @param expected the code of the refusal
 */
export async function refusesForgedList(
  expected: string,
  forge: (entries: readonly Uint8Array[]) => Uint8Array[],
): Promise<void> {
  await using fixture = await Fixture.start();
  const { node } = fixture;
  const [container, neighbour] = [containerOf(1), containerOf(2)];
  const session = await fixture.session(container, neighbour);
  assert.equal((await session.ask(requestOf(container))).case, 'identities');
  await node.kernel.measureContainer({ path: '/tmp/miner', sha256: digestOf('miner') }, { uid: uidOf(1) });
  await node.kernel.measureContainer({ path: '/bin/helper', sha256: digestOf('image /bin/helper') }, { uid: uidOf(2) });
  session.close();

  const entries = splitList(await node.list());
  const forged = Buffer.concat(forge(entries));
  const liar = await node.attest(fixture.server, fixture.identity);
  liar.tell(container, neighbour);
  liar.send({ case: 'list', value: { offset: 0n, data: new Uint8Array(forged) } });
  liar.sentBytes = forged.length;
  await liar.evidence([requestOf(container)], { listUpTo: 0 });
  const { outcome } = await liar.next('answer');
  assert.ok(outcome.case === 'refusal');
  assert.equal(outcome.value.code, expected);
  liar.close();

  const honest = await node.attest(fixture.server, fixture.identity);
  honest.tell(container, neighbour);
  const own = await honest.ask(requestOf(container));
  assert.ok(own.case === 'refusal');
  assert.equal(own.value.code, 'appraisal.file.unknown');
  assert.equal((await honest.ask(requestOf(neighbour))).case, 'identities', 'the neighbour keeps its identity');
  honest.close();
}
