import assert from 'node:assert/strict';
import { test } from 'node:test';
import { codeOf, containerOf, Fixture, requestOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// A node cuts its connection (A2) before it can be banned on it, and keeps the SVIDs that its containers got.

const skip = skipWithoutSoftwareTpm();

for (const [what, ban] of [
  [
    'banned',
    ({ node, server }: Fixture) =>
      server.agents.banAgent({
        id: { trustDomain: 'lacre.test', path: node.spiffeId.slice('spiffe://lacre.test'.length) },
      }),
  ],
  ['taken out of the inventory', ({ server }: Fixture) => server.admin.deleteNode({ node: 'node-1' })],
] as const) {
  test(`a node that is ${what} while it is away loses what it has, its own SVID too`, { skip }, async () => {
    await using fixture = await Fixture.start();
    const { node, server } = fixture;
    const container = containerOf(1);
    const session = await fixture.session(container);
    assert.equal((await session.ask(requestOf(container))).case, 'identities');
    session.close();
    const valid = async () => (await server.admin.listWorkloads({})).workloads.flatMap(({ spiffeIds }) => spiffeIds);
    assert.deepEqual(await valid(), ['spiffe://lacre.test/orders']);
    await new Promise((resolve) => setTimeout(resolve, 100));
    await ban(fixture);
    assert.deepEqual(await valid(), []);
    await assert.rejects(node.attest(server, fixture.identity), (error) => {
      assert.ok(['server.node.unauthenticated', 'server.node.missing'].includes(codeOf(error)), String(error));
      return true;
    });
    await assert.rejects(node.enrol(server), (error) => codeOf(error).startsWith('server.node.'));
  });
}
