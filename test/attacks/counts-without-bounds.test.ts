import assert from 'node:assert/strict';
import { test } from 'node:test';
import { codeOf, containerOf, Fixture, requestOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// An agent (A2) sends a thousand times what it may: requests, confirmations, containers, records and keys of any length.

const skip = skipWithoutSoftwareTpm();

test('each count and length has a bound, and passing it ends the session', { skip }, async () => {
  await using fixture = await Fixture.start('limits: { requests_per_evidence: 8 }');
  const container = containerOf(1);
  const many = Array.from({ length: 9 }, () => requestOf(container));
  const [one] = many;
  assert.ok(one);
  const long = { ...requestOf(container), record: new Uint8Array(1_000_000) };
  const wide = { ...requestOf(container), subject: new Uint8Array(100_000) };
  for (const requests of [many, [long], [wide]]) {
    const session = await fixture.session(container);
    session.send({ case: 'requests', value: { requests } });
    assert.equal(codeOf(await session.end()), 'server.limit');
    session.close();
  }
  const honest = await fixture.session(container);
  await honest.evidence(many.slice(0, 8).map((request) => ({ ...request, id: request.id + 1000n })));
  for (let at = 0; at < 8; at++) assert.equal((await honest.next('answer')).outcome.case, 'identities');
  honest.close();
});
