import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containerOf, digestOf, Fixture, IMAGE_FILES, requestOf, uidOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// A container ends; the engine hands its uid range to one of another image. What the first executed is in the list already, and the
// kernel logs no file twice: the newcomer may run the first one's program unseen.

const skip = skipWithoutSoftwareTpm();

const OTHER = `sha256:${'c3'.repeat(32)}`;
const files = IMAGE_FILES.map((file) => ({ ...file, sha256: digestOf(`other ${file.path}`) }));

test('a range that was used is told as such, and proves no image', { skip }, async () => {
  await using fixture = await Fixture.start();
  const { node, server } = fixture;
  await server.approveImage(OTHER, files);
  await server.createEntry('/fresh', node.spiffeId, ['lacre:image-name:registry.test/app:1', 'lacre:range:fresh']);
  const first = containerOf(1);
  const session = await fixture.session(first);
  const held = await session.ask(requestOf(first));
  assert.ok(held.case === 'identities');
  assert.equal(held.value.x509.length, 2);

  const next = containerOf(2, { manifestDigest: OTHER, uidMap: first.uidMap });
  session.sayGone(first);
  session.tellMore(next);
  const unseen = await session.ask(requestOf(next));
  assert.ok(unseen.case === 'refusal');
  assert.equal(unseen.value.code, 'appraisal.entrypoint.missing', 'the first one’s entry is not its own');
  for (const file of files) await node.kernel.measureContainer(file, { uid: uidOf(1) });
  const seen = await session.ask(requestOf(next));
  assert.ok(seen.case === 'identities');
  assert.deepEqual(
    seen.value.x509.map(({ spiffeId }) => spiffeId),
    ['spiffe://lacre.test/orders'],
    'not the entry that asks for a range of its own',
  );
  session.close();
});
