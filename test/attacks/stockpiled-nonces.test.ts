import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containerOf, digestOf, Fixture, requestOf, uidOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// A liar of an agent (A2) collects nonces and quotes them while the host is clean, to hand the quotes in one by one later,
// when it is not.

const skip = skipWithoutSoftwareTpm();

test('quotes made ahead serve for as long as a nonce lives, and no longer', { skip }, async () => {
  let aheadMs = 0;
  await using fixture = await Fixture.start('', { now: () => new Date(Date.now() + aheadMs) });
  const container = containerOf(1);
  const session = await fixture.session(container);
  assert.equal((await session.ask(requestOf(container))).case, 'identities');
  const [now, later] = [requestOf(container), requestOf(container)];
  const nonces = [await session.nonce(), await session.nonce()];
  assert.equal(session.nonces.length, 0, 'two nonces at a time are all there are');
  const quotes = [
    await session.quoteFor([now], nonces[0] ?? new Uint8Array()),
    await session.quoteFor([later], nonces[1] ?? new Uint8Array()),
  ];
  await session.evidence([now], { nonce: nonces[0] ?? new Uint8Array(), ...(quotes[0] && { quote: quotes[0] }) });
  assert.equal((await session.next('answer')).outcome.case, 'identities');

  aheadMs = 5_100;
  await fixture.node.kernel.measureContainer({ path: '/tmp/miner', sha256: digestOf('miner') }, { uid: uidOf(1) });
  await session.evidence([later], {
    nonce: nonces[1] ?? new Uint8Array(),
    listUpTo: session.sentBytes,
    ...(quotes[1] && { quote: quotes[1] }),
  });
  assert.equal((await session.next('answer')).outcome.case, 'quoteNeeded', 'it has expired');
  assert.deepEqual(fixture.server.loggedCodes, ['server.nonce.unknown']);
  // Nonces that came before the clock went on are as old as the others.
  let outcome = await session.ask(requestOf(container));
  for (let i = 0; i < 4 && outcome.case === 'quoteNeeded'; i++) outcome = await session.ask(requestOf(container));
  assert.ok(outcome.case === 'refusal', outcome.case);
  assert.equal(outcome.value.code, 'appraisal.file.unknown');
  session.close();
});
