import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containerOf, Fixture, requestOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// Code in a container (A1) opens files for writing while they are measured, on and on: violations name no owner, and may hide what
// was executed.

const skip = skipWithoutSoftwareTpm();

const readOnly = (number: number) =>
  containerOf(number, {
    rootReadOnly: true,
    mounts: containerOf(number).mounts.map((mount) => ({ ...mount, readOnly: true })),
  });

test('it takes the proof from those that could hide behind it, and the node from nobody', { skip }, async () => {
  await using fixture = await Fixture.start();
  const { node, server } = fixture;
  await server.createEntry('/exact', node.spiffeId, [
    'lacre:image-name:registry.test/app:1',
    'lacre:attribution:exact',
  ]);
  const [writable, closed] = [containerOf(1), readOnly(2)];
  const session = await fixture.session(writable, closed);
  for (const container of [writable, closed]) {
    const outcome = await session.ask(requestOf(container));
    assert.ok(outcome.case === 'identities');
    assert.equal(outcome.value.x509.length, 2);
  }
  for (let at = 0; at < 50; at++) await node.kernel.violate(`/var/log/${at}`);
  await session.sendList();
  await session.next('entriesChanged'); // before any quote: who asks for exact attribution is to ask again
  const lost = await session.ask(requestOf(writable));
  assert.ok(lost.case === 'identities', 'it fails nobody by itself');
  assert.deepEqual(
    lost.value.x509.map(({ spiffeId }) => spiffeId),
    ['spiffe://lacre.test/orders'],
    'the entry that asks for exact attribution is for it no more',
  );
  assert.ok((await server.findingsOf('app-1')).includes('container.attribution.lost'));
  const kept = await session.ask(requestOf(closed));
  assert.ok(kept.case === 'identities');
  assert.equal(kept.value.x509.length, 2, 'who can change nothing that it executes keeps the proof');
  assert.ok(!(await server.findingsOf('app-2')).includes('container.attribution.lost'));
  session.close();
});
