import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConnectError } from '@connectrpc/connect';
import { RefusalSchema } from '../../src/proto/lacre/v1/node_pb.ts';
import { codeOf, digestOf, ScriptedNode, TestServer } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// The machine boots with another initrd than the approved one, whose first program loads another IMA policy, or none.

const skip = skipWithoutSoftwareTpm();

test('which policy is loaded is proven by the initrd that holds it', { skip }, async () => {
  await using honest = await ScriptedNode.boot();
  await using server = await TestServer.start(honest.tpm.rootPath);
  await server.approve();
  await server.admin.addNode({ ekSha256: honest.ekSha256Hex, name: 'honest' });
  assert.equal((await honest.enrol(server)).result.host?.trusted, true, 'the honest case');

  await using node = await ScriptedNode.boot('sha256', {}, { initrdSha256: digestOf('initrd with another policy') });
  await using other = await TestServer.start(node.tpm.rootPath);
  await other.approve();
  await other.admin.addNode({ ekSha256: node.ekSha256Hex, name: 'other' });
  const error = await node.enrol(other).then(
    () => assert.fail('the node was enrolled'),
    (reason: unknown) => reason,
  );
  assert.equal(codeOf(error), 'server.evidence.refused');
  assert.ok(error instanceof ConnectError);
  const [refusal] = error.findDetails(RefusalSchema);
  const fatal = refusal?.verdict?.findings.filter((finding) => finding.fatal).map(({ code }) => code) ?? [];
  assert.ok(fatal.includes('boot.initrd.unknown'), fatal.join());
});
