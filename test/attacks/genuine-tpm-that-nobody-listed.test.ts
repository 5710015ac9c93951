import assert from 'node:assert/strict';
import { test } from 'node:test';
import { codeOf, ScriptedNode, TestServer } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// A machine with a genuine TPM, whose EK certificate chains to a configured root, asks to be a node. The chain says what kind of
// chip it is, never whose.

const skip = skipWithoutSoftwareTpm();

test('it is parked, and nothing is issued before somebody lists it', { skip }, async () => {
  await using node = await ScriptedNode.boot();
  await using server = await TestServer.start(node.tpm.rootPath);
  await server.approve();
  await assert.rejects(node.enrol(server), (error) => codeOf(error) === 'server.node.unknown');
  const { nodes } = await server.admin.listNodes({});
  assert.deepEqual(
    nodes.map(({ state }) => state),
    ['parked'],
  );
  await server.admin.addNode({ ekSha256: node.ekSha256Hex, name: 'node-1' });
  const { result } = await node.enrol(server);
  assert.equal(result.host?.trusted, true, 'the honest case');
});
