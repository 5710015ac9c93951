import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containerOf, Fixture, requestOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// A workload (A1) fetches an SVID whose SPIFFE ID asks for exact attribution, keeps the key, and closes its stream. Then
// exactness ends: no stream is there to be ended, but the SVID must be withdrawn all the same.

const skip = skipWithoutSoftwareTpm();
const loose = containerOf(2, { seccompDeniesUserns: false });

for (const [what, closes] of [
  ['held by an open stream', false],
  ['whose stream was closed', true],
] as const) {
  test(`an SVID ${what} goes with the attribution that it asks for`, { skip }, async () => {
    await using fixture = await Fixture.start();
    const { node, server } = fixture;
    await server.createEntry('/exact', node.spiffeId, ['lacre:container-name:app-1', 'lacre:attribution:exact']);
    const valid = async () => (await server.admin.why({ subject: 'app-1' })).workloads[0]?.spiffeIds.toSorted();
    const container = containerOf(1);
    const session = await fixture.session(container);
    const request = requestOf(container);
    assert.equal((await session.ask(request)).case, 'identities');
    if (closes) session.send({ case: 'release', value: { ids: [request.id] } });
    await session.evidence();
    await session.next('node');
    await session.next('node');
    assert.deepEqual(await valid(), ['spiffe://lacre.test/exact', 'spiffe://lacre.test/orders']);
    session.send({ case: 'observation', value: { lockdown: 'integrity', kexecLoadDisabled: 2, ptraceScope: 4 } });
    session.tellMore(loose);
    await session.evidence();
    await session.next('node');
    assert.deepEqual(await valid(), ['spiffe://lacre.test/orders']);
    const told = session.received.filter((message) => message.case === 'entriesChanged').length;
    assert.equal(told > 0, !closes, 'whoever holds it is to ask for another');
    assert.equal((await session.ask(requestOf(container))).case, 'identities', 'of the entry that asks for less');
    assert.ok((await server.findingsOf('app-1')).includes('container.attribution.shared'));
    session.close();
  });
}
