import assert from 'node:assert/strict';
import { test } from 'node:test';
import { codeOf, ScriptedNode, TestServer } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// A machine shows the EK certificate of another one, which is in the inventory, with its own TPM's EK; or its own with the other's EK.

const skip = skipWithoutSoftwareTpm();

test('certificate and endorsement key must belong together', { skip }, async () => {
  await using node = await ScriptedNode.boot();
  await using other = await ScriptedNode.boot();
  await using server = await TestServer.start(node.tpm.rootPath);
  await server.approve();
  for (const [name, { ekSha256Hex }] of Object.entries({ node, other })) {
    await server.admin.addNode({ ekSha256: ekSha256Hex, name });
  }
  for (const hello of [{ ekPublic: other.ekPublic }, { ekCertificate: node.ekCertificate, ekPublic: other.ekPublic }]) {
    await assert.rejects(node.enrol(server, { hello }), (error) => codeOf(error) === 'tpm.endorsement.key');
  }
  assert.equal((await node.enrol(server)).result.host?.trusted, true, 'the honest case');
});
