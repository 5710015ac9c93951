import assert from 'node:assert/strict';
import { test } from 'node:test';
import { codeOf, containerOf, Fixture, requestOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// A request is of a kind that this server does not know: a newer agent, or one that hopes for a default.

const skip = skipWithoutSoftwareTpm();

test('there is no default: it ends the session, and nothing is answered', { skip }, async () => {
  await using fixture = await Fixture.start();
  const container = containerOf(1);
  for (const kind of [0, 2, 5, 77]) {
    const session = await fixture.session(container);
    assert.equal((await session.ask(requestOf(container))).case, 'identities');
    session.send({ case: 'request', value: { ...requestOf(container), kind: kind as never } });
    assert.equal(codeOf(await session.end()), 'server.protocol', String(kind));
    session.close();
  }
});
