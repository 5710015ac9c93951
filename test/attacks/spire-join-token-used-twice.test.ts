import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connectServer } from '../../src/agent/connection.ts';
import { createKeyAndRequest } from '../../src/agent/enrolment-csr.ts';
import { codeOf, Fixture } from '../simulator/scripted-node.ts';
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

test('the answer to one challenge admits to no other enrolment', { skip }, async () => {
  await using fixture = await Fixture.start();
  const { node, server } = fixture;
  const [first, second] = [
    await connectServer(await node.place(server)),
    await connectServer(await node.place(server)),
  ];
  const asked = Promise.withResolvers<void>();
  const hello = await node.hello(createKeyAndRequest().csr);
  const responses = first.client.enrol(
    (async function* () {
      yield { step: { case: 'hello' as const, value: hello } };
      await asked.promise;
    })(),
  );
  const challenge = (await responses[Symbol.asyncIterator]().next()).value?.step;
  assert.ok(challenge?.case === 'challenge');
  const { credentialBlob, encryptedSecret, nonce } = challenge.value;
  const secret = await node.client.activateCredential(credentialBlob, encryptedSecret);
  await assert.rejects(node.enrolOn(second, { secret, nonce }), (error) => codeOf(error) === 'tpm.quote.extra-data');
  asked.resolve();
  for (const connection of [first, second]) connection.close();
  assert.equal((await node.enrol(server)).result.spiffeId, node.spiffeId, 'with its own challenge it is admitted');
});
