import assert from 'node:assert/strict';
import { ConnectError } from '@connectrpc/connect';
import { RefusalSchema } from '../../src/proto/lacre/v1/node_pb.ts';
import type { BootedSystem } from '../simulator/event-log.ts';
import { codeOf, ScriptedNode, TestServer } from '../simulator/scripted-node.ts';

/**
 * Not an attack: the frame of those that boot something else. The approved machine enrols; one that boots otherwise, with
 * a genuine TPM in the inventory, is refused with that finding.
 * @param booted what it boots in place of what is approved
 * @param expected the code of the fatal finding
 */
export async function refusesBoot(booted: Partial<BootedSystem>, expected: string): Promise<void> {
  {
    await using honest = await ScriptedNode.boot();
    await using server = await TestServer.start(honest.tpm.rootPath);
    await server.approve();
    await server.admin.addNode({ ekSha256: honest.ekSha256Hex, name: 'honest' });
    assert.equal((await honest.enrol(server)).result.host?.trusted, true, 'the honest case');
  }
  await using node = await ScriptedNode.boot('sha256', {}, booted);
  await using server = await TestServer.start(node.tpm.rootPath);
  await server.approve();
  await server.admin.addNode({ ekSha256: node.ekSha256Hex, name: 'other' });
  const error = await node.enrol(server).then(
    () => assert.fail('the node was enrolled'),
    (reason: unknown) => reason,
  );
  assert.equal(codeOf(error), 'server.evidence.refused');
  assert.ok(error instanceof ConnectError);
  const [refusal] = error.findDetails(RefusalSchema);
  const fatal = refusal?.verdict?.findings.filter((finding) => finding.fatal).map(({ code }) => code) ?? [];
  assert.ok(fatal.includes(expected), fatal.join());
}
