import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containerOf, Fixture, IMAGE_FILES, requestOf, uidOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// A container of an approved image is told in a range where only a helper of the image was executed, or nothing at all: something else
// lives there, which came by ways that leave no entry.

const skip = skipWithoutSoftwareTpm();

test('the image’s own program must be in the list, in this range', { skip }, async () => {
  await using fixture = await Fixture.start();
  const [honest, silent, half] = [containerOf(1), containerOf(2), containerOf(3)];
  const session = await fixture.session(honest);
  assert.equal((await session.ask(requestOf(honest))).case, 'identities');
  for (const file of IMAGE_FILES.slice(1)) await fixture.node.kernel.measureContainer(file, { uid: uidOf(3) });
  session.tellMore(silent, half);
  for (const container of [silent, half]) {
    const outcome = await session.ask(requestOf(container));
    assert.ok(outcome.case === 'refusal');
    assert.equal(outcome.value.code, 'appraisal.entrypoint.missing');
  }
  session.close();
});
