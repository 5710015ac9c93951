import assert from 'node:assert/strict';
import { test } from 'node:test';
import { codeOf, containerOf, Fixture, requestOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// Whoever can speak as the agent opens a second session beside the first, to have one of them forgotten when the other is
// told bad news, or to be issued on evidence that the other gave.

const skip = skipWithoutSoftwareTpm();

test('the newer session has no evidence of its own yet, and the older has no say any more', { skip }, async () => {
  await using fixture = await Fixture.start();
  const container = containerOf(1);
  const first = await fixture.session(container);
  assert.equal((await first.ask(requestOf(container))).case, 'identities');
  const second = await fixture.session(container);
  const error = await first.end();
  assert.equal(codeOf(error), 'server.store.fenced', String(error));

  second.send({ case: 'request', value: requestOf(container) });
  assert.equal((await second.next('answer')).outcome.case, 'quoteNeeded', "evidence of the first is nobody's");
  const request = requestOf(container);
  const nonce = await second.nonce();
  const quote = await first.quoteFor([request], nonce);
  await second.evidence([request], { nonce, quote });
  const crossed = await second.end();
  assert.equal(codeOf(crossed), 'tpm.quote.extra-data', 'a quote over the exporter of the first');
  for (const session of [first, second]) session.close();
});
