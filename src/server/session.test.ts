import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import {
  containerOf,
  IMAGE_FILES,
  requestOf,
  ScriptedNode,
  TestServer,
  uidOf,
} from '../../test/simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../../test/simulator/software-tpm.ts';

const skip = skipWithoutSoftwareTpm();

describe('a session', { skip }, () => {
  let node: ScriptedNode;
  let server: TestServer;
  before(async () => {
    node = await ScriptedNode.boot();
    server = await TestServer.start(node.tpm.rootPath);
    await server.approve();
    await server.admin.addNode({ ekSha256: node.ekSha256Hex, name: 'node-1' });
    await server.createEntry('/orders', node.spiffeId, ['lacre:image-name:registry.test/app:1']);
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
    await node[Symbol.asyncDispose]();
  });

  test('gives a container of the approved image its identity', async () => {
    const { identity, result } = await node.enrol(server);
    assert.equal(result.spiffeId, node.spiffeId);
    assert.equal(result.host?.trusted, true);
    const session = await node.attest(server, identity);
    const container = containerOf(1);
    for (const file of IMAGE_FILES.slice(0, 2)) await node.kernel.measureContainer(file, { uid: uidOf(1) });
    session.tell(container);
    const outcome = await session.ask(requestOf(container));
    assert.equal(
      outcome.case,
      'identities',
      JSON.stringify(outcome.value, (_, v) => (typeof v === 'bigint' ? Number(v) : v), 1),
    );
    assert.ok(outcome.case === 'identities');
    const [x509] = outcome.value.x509;
    assert.equal(x509?.spiffeId, 'spiffe://lacre.test/orders');
    const leaf = new X509Certificate(x509?.certificateChain[0] ?? new Uint8Array());
    assert.equal(leaf.subjectAltName, 'URI:spiffe://lacre.test/orders');
    session.close();
  });
});
