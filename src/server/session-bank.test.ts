import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  codeOf,
  containerOf,
  digestOf,
  Fixture,
  requestOf,
  ScriptedNode,
  uidOf,
} from '../../test/simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../../test/simulator/software-tpm.ts';

const skip = skipWithoutSoftwareTpm();

test('a machine with PCRs of SHA-384 alone enrols, attests, and is refused for what it executes', {
  skip,
}, async () => {
  await using fixture = await Fixture.start(
    '',
    undefined,
    await ScriptedNode.boot('sha384', { akAlgorithm: 'ecdsa-p384' }),
  );
  const { node, server } = fixture;
  const container = containerOf(1);
  const session = await fixture.session(container);
  assert.equal((await session.ask(requestOf(container))).case, 'identities');
  session.close();
  const { host } = await server.admin.getNode({ node: 'node-1' });
  const selectors = host?.selectors ?? [];
  assert.ok(
    selectors.some((selector) => selector.startsWith('lacre:kernel:sha384:')),
    selectors.join(),
  );
  assert.ok(selectors.includes('lacre:host:standard'), selectors.join());
  await server.restart();
  const again = await node.attest(server, fixture.identity);
  again.tell(container);
  assert.equal((await again.ask(requestOf(container))).case, 'identities', 'the epoch goes on over a restart');
  await node.kernel.measureContainer({ path: '/tmp/miner', sha256: digestOf('miner') }, { uid: uidOf(1) });
  assert.equal((await again.ask(requestOf(container))).case, 'refusal');
  again.close();
});

test('a log of one bank and quotes of another are refused', { skip }, async () => {
  await using fixture = await Fixture.start();
  await using other = await ScriptedNode.boot('sha384');
  const { node, server } = fixture;
  const change = { eventLog: await other.eventLog(), list: await other.list() };
  await assert.rejects(node.enrol(server, change), (error) => codeOf(error) === 'tpm.quote.selection');
});
