import assert from 'node:assert/strict';
import { test } from 'node:test';
import { codeOf, containerOf, Fixture, requestOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// A node opens a session and keeps it open, a byte now and then, without ever making a quote; or stops making any when its host is
// no longer good.

const skip = skipWithoutSoftwareTpm();

test('a node without a quote in time is lost, and what it holds ends', { skip }, async () => {
  await using fixture = await Fixture.start('quote_interval: 1s');
  const container = containerOf(1);
  const session = await fixture.session(container);
  assert.equal((await session.ask(requestOf(container))).case, 'identities');
  const talking = setInterval(() => session.tellMore(container), 300);
  const error = await session.end(20_000).finally(() => clearInterval(talking));
  assert.equal(codeOf(error), 'server.node.silent');
  session.close();
  const { state } = await fixture.server.admin.getNode({ node: 'node-1' });
  assert.equal(state, 'lost');
  const again = await fixture.session(container);
  assert.equal((await again.ask(requestOf(container))).case, 'identities', 'with a quote it is back');
  again.close();
});
