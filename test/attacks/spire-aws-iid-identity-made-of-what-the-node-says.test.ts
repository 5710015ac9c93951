import assert from 'node:assert/strict';
import { test } from 'node:test';
import { codeOf, Fixture, TRUST_DOMAIN } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// SPIRE, CVE-2021-27099, aws_iid: an agent's ID was made of text in the node's document, whose dots and slashes led to another node's ID.
// Here: a node chooses what it can choose, the name in its certificate request, and is enrolled under a name with such text.

const skip = skipWithoutSoftwareTpm();

test('a node’s ID is made of its EK, and of nothing that it says', { skip }, async () => {
  await using fixture = await Fixture.start();
  const { node, server } = fixture;
  for (const name of ['../server', 'a/../../b', `spiffe://${TRUST_DOMAIN}/spire/server`, '%2e%2e']) {
    await server.admin.deleteNode({ node: node.ekSha256Hex });
    const added = await server.admin.addNode({ ekSha256: node.ekSha256Hex, name }).catch((error: unknown) => {
      assert.equal(codeOf(error), 'server.reference.invalid', name);
      return server.admin.addNode({ ekSha256: node.ekSha256Hex, name: 'plain' });
    });
    assert.equal(added.spiffeId, node.spiffeId);
    const { result } = await node.enrol(server);
    assert.equal(result.spiffeId, node.spiffeId, name);
  }
});
