import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containerOf, digestOf, Fixture, requestOf, uidOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// Somebody pushes another image under the tag of an approved one. Containers of it have the same name; or an agent (A2) also
// says the approved image's digest.

const skip = skipWithoutSoftwareTpm();
const PUSHED = `sha256:${'d4'.repeat(32)}`;

test('names count for nothing, and a digest is as good as the files that ran', { skip }, async () => {
  await using fixture = await Fixture.start();
  const approved = containerOf(1);
  const session = await fixture.session(approved);
  assert.equal((await session.ask(requestOf(approved))).case, 'identities');

  const moved = containerOf(2, { manifestDigest: PUSHED });
  const lied = containerOf(3);
  const half = containerOf(4, { configDigest: PUSHED });
  for (const number of [2, 3]) {
    await fixture.node.kernel.measureContainer({ path: '/bin/app', sha256: digestOf('other') }, { uid: uidOf(number) });
  }
  await fixture.run(half);
  session.tellMore(moved, lied, half);
  for (const [container, code] of [
    [moved, 'appraisal.image.unknown'],
    [lied, 'appraisal.file.unexpected'],
    [half, 'appraisal.image.differs'],
  ] as const) {
    const outcome = await session.ask(requestOf(container));
    assert.ok(outcome.case === 'refusal');
    assert.equal(outcome.value.code, code, outcome.value.sentence);
  }
  assert.equal((await session.ask(requestOf(approved))).case, 'identities');
  session.close();
});
