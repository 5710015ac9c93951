import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connectServer } from '../../src/agent/connection.ts';
import { Fixture } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// SPIRE, join_token: what lets a node in once must not let in two, also where both come at the same moment. Here: one machine answers two
// challenges at once, or gives one challenge's answer to the other.

const skip = skipWithoutSoftwareTpm();

test('each enrolment has a challenge of its own, and of two at once both are the same node', { skip }, async () => {
  await using fixture = await Fixture.start();
  const { node, server } = fixture;
  const [first, second] = [
    await connectServer(await node.place(server)),
    await connectServer(await node.place(server)),
  ];
  const done = await Promise.allSettled([node.enrolOn(first), node.enrolOn(second)]);
  const ids = done.flatMap((one) => (one.status === 'fulfilled' ? [one.value.result.spiffeId] : []));
  assert.ok(ids.length >= 1);
  assert.deepEqual([...new Set(ids)], [node.spiffeId]);
  for (const connection of [first, second]) connection.close();
  const { nodes } = await server.admin.listNodes({});
  assert.equal(nodes.length, 1);
});
