import assert from 'node:assert/strict';
import { test } from 'node:test';
import { codeOf, containerOf, digestOf, Fixture, requestOf, uidOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';
import { splitList } from '../simulator/split-list.ts';

// The bad entry is told as one of another PCR: of one where it would count for less (reads), or of one that no quote covers.

const skip = skipWithoutSoftwareTpm();

test('an entry is of the PCR that it was extended into', { skip }, async () => {
  await using fixture = await Fixture.start();
  const { node } = fixture;
  const container = containerOf(1);
  const session = await fixture.session(container);
  assert.equal((await session.ask(requestOf(container))).case, 'identities');
  session.close();
  await node.kernel.measureContainer({ path: '/tmp/miner', sha256: digestOf('miner') }, { uid: uidOf(1) });
  for (const [pcr, code] of [
    [13, 'ima.prefix.unexplained'],
    [14, 'ima.prefix.unexplained'],
    [11, 'ima.entry.pcr'],
    [16, 'ima.entry.pcr'],
  ] as const) {
    const entries = splitList(await node.list());
    entries.at(-1)?.set([pcr], 0);
    const liar = await node.attest(fixture.server, fixture.identity);
    liar.tell(container);
    const data = new Uint8Array(Buffer.concat(entries));
    liar.send({ case: 'list', value: { offset: 0n, data } });
    liar.sentBytes = data.length;
    await liar.evidence([requestOf(container)], { listUpTo: 0 });
    const found = await liar.next('answer').then(
      ({ outcome }) => (outcome.case === 'refusal' ? outcome.value.code : outcome.case),
      (error: unknown) => codeOf(error),
    );
    assert.equal(found, code, String(pcr));
    liar.close();
  }
});
