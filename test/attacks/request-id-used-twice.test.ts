import assert from 'node:assert/strict';
import { test } from 'node:test';
import { codeOf, containerOf, Fixture, requestOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// A liar of an agent (A2) gives two requests one id, so that the server loses sight of what it issued for the first.

const skip = skipWithoutSoftwareTpm();

test('two requests with ids of their own are answered', { skip }, async () => {
  await using fixture = await Fixture.start();
  const container = containerOf(1);
  const session = await fixture.session(container);
  const requests = [requestOf(container), requestOf(container)];
  await session.evidence(requests);
  const answers = [await session.next('answer'), await session.next('answer')];
  assert.deepEqual(
    answers.map(({ id, outcome }) => [id, outcome.case]),
    requests.map(({ id }) => [id, 'identities']),
  );
  await session.evidence([{ ...requestOf(container), id: requests[0]?.id ?? 0n }]);
  const error = await session.end();
  assert.equal(codeOf(error), 'server.protocol', 'an id that was answered');
  session.close();

  const second = await fixture.session(container);
  await second.evidence([
    requestOf(container),
    { ...requestOf(container), id: 99n },
    { ...requestOf(container), id: 99n },
  ]);
  const twice = await second.end();
  assert.equal(codeOf(twice), 'server.protocol', String(twice));
  assert.equal(second.received.filter((message) => message.case === 'answer').length, 0, 'nothing was issued');
  second.close();

  const third = await fixture.session(container);
  await third.evidence();
  await third.next('node');
  const [one, other] = [requestOf(container), requestOf(container)];
  third.send({ case: 'requests', value: { requests: [one, { ...other, id: one.id }] } });
  const reused = await third.end();
  assert.equal(codeOf(reused), 'server.protocol', 'on evidence that is fresh already');
  assert.equal(third.received.filter((message) => message.case === 'answer').length, 0, 'nothing was issued');
  third.close();
});
