import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { containerOf, Fixture, requestOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// Somebody who answers the server’s time requests (A4) sets its clock back, so that evidence which is too old looks fresh.

const skip = skipWithoutSoftwareTpm();

test('evidence and nonces age by a clock that nobody sets', { skip }, async () => {
  let aheadMs = 0;
  await using fixture = await Fixture.start('', { now: () => new Date(Date.now() + aheadMs) });
  await fixture.server.entries.batchDeleteEntry({ ids: [fixture.entryId] });
  const selectors = ['lacre:image-name:registry.test/app:1', 'lacre:evidence-age:1s'];
  await fixture.server.createEntry('/orders', fixture.node.spiffeId, selectors);
  const container = containerOf(1);
  const session = await fixture.session(container);
  assert.equal((await session.ask(requestOf(container))).case, 'identities');
  session.send({ case: 'request', value: requestOf(container) });
  assert.equal((await session.next('answer')).outcome.case, 'identities', 'fresh enough to be used again');
  const early = await session.nonce();
  await delay(1_100);
  for (const back of [0, -900, -3_600_000]) {
    aheadMs = back;
    session.send({ case: 'request', value: requestOf(container) });
    assert.equal((await session.next('answer')).outcome.case, 'quoteNeeded', `set back by ${-back} ms`);
  }
  // A nonce lives for a quarter of that age, and no longer on a clock that was set back.
  const request = requestOf(container);
  await session.evidence([request], { nonce: early });
  assert.equal((await session.next('answer')).outcome.case, 'quoteNeeded', 'no evidence');
  assert.deepEqual(fixture.server.loggedCodes, ['server.nonce.unknown']);
  aheadMs = 0;
  // Nonces that were given out meanwhile are too old as well.
  const outcomes: (string | undefined)[] = [];
  while (outcomes.length < 5 && outcomes.at(-1) !== 'identities')
    outcomes.push((await session.ask(requestOf(container))).case);
  assert.equal(outcomes.at(-1), 'identities', 'fresh evidence is evidence still');
  session.close();
});
