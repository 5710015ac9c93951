import assert from 'node:assert/strict';
import { test } from 'node:test';
import { codeOf, containerOf, Fixture, requestOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// Somebody between agent and server (A4) has the agent's SVID and key, and passes on what the agent sends, over a TLS connection of
// their own: nonce, quote and list are genuine.

const skip = skipWithoutSoftwareTpm();

test('a quote is bound to the connection that it travels over', { skip }, async () => {
  await using fixture = await Fixture.start();
  const container = containerOf(1);
  const honest = await fixture.session(container);
  assert.equal((await honest.ask(requestOf(container))).case, 'identities');
  const { exporter } = honest.connection;
  const relayed = await fixture.session(container);
  assert.notDeepEqual(relayed.connection.exporter, exporter);
  await relayed.evidence([requestOf(container)], { exporter });
  assert.equal(codeOf(await relayed.end()), 'tpm.quote.extra-data');
  for (const session of [honest, relayed]) session.close();
});
