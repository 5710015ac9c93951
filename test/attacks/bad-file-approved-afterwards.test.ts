import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containerOf, digestOf, Fixture, IMAGE_FILES, MANIFEST, requestOf, uidOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// A container executed a bad file. Somebody who may push images publishes one that holds this very file, gets it approved, and
// has a container of it run in the same range: now the file is explained.

const skip = skipWithoutSoftwareTpm();
const OTHER = `sha256:${'c3'.repeat(32)}`;
const BAD = { path: '/opt/agent', sha256: digestOf('implant'), mode: 0o755 };

test('what was bad when it ran stays bad for the epoch', { skip }, async () => {
  await using fixture = await Fixture.start();
  const [container, clean] = [containerOf(1), containerOf(2)];
  const session = await fixture.session(container, clean);
  assert.equal((await session.ask(requestOf(container))).case, 'identities');
  await fixture.node.kernel.measureContainer(BAD, { uid: uidOf(1) });
  const refused = await session.ask(requestOf(container));
  assert.ok(refused.case === 'refusal');
  assert.equal(refused.value.code, 'appraisal.file.unknown');

  await fixture.server.approveImage(OTHER, [...IMAGE_FILES, BAD]);
  const carrier = containerOf(3, { manifestDigest: OTHER, uidMap: container.uidMap });
  session.sayGone(container);
  session.tellMore(carrier);
  const explained = await session.ask(requestOf(carrier));
  assert.ok(explained.case === 'refusal', 'the range is tainted for the carrier too');
  session.sayGone(carrier);
  session.tellMore(container);
  assert.equal((await session.ask(requestOf(container))).case, 'refusal');
  assert.equal((await session.ask(requestOf(clean))).case, 'identities');
  session.close();

  await fixture.server.restart();
  await fixture.server.approveImage(MANIFEST, [...IMAGE_FILES, BAD]);
  const later = await fixture.session(container, clean);
  const after = await later.ask(requestOf(container));
  assert.ok(after.case === 'refusal', 'over a restart, and with the file in its own image');
  assert.equal(after.value.code, 'appraisal.file.unknown');
  assert.equal((await later.ask(requestOf(clean))).case, 'identities');
  later.close();
});
