import assert from 'node:assert/strict';
import { test } from 'node:test';
import { codeOf, containerOf, Fixture, requestOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// The quote is over a request of a good container; what is sent is a request of another one, or one with another key, under the same id.

const skip = skipWithoutSoftwareTpm();

test('the leaf is of this container and of this key', { skip }, async () => {
  await using fixture = await Fixture.start();
  const [good, other] = [containerOf(1), containerOf(2)];
  for (const change of [
    { record: requestOf(other).record },
    { subject: requestOf(good).subject },
    { kind: 3 as const },
  ]) {
    const session = await fixture.session(good, other);
    const quoted = requestOf(good);
    await session.evidence([{ ...quoted, ...change }], { quoted: [quoted] });
    assert.equal(codeOf(await session.end()), 'tpm.quote.extra-data', Object.keys(change).join());
    session.close();
  }
  const honest = await fixture.session(good, other);
  assert.equal((await honest.ask(requestOf(good))).case, 'identities');
  honest.close();
});
