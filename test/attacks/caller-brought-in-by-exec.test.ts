import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeContainer, encodeContainer, encodeRecord, makeRecord } from '../../src/container/record.ts';
import { containerOf, Fixture, requestOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// Somebody who may run `podman exec` brings a process into a sound container, and asks from there.

const skip = skipWithoutSoftwareTpm();

function recordOf(change: { readonly joinedByExec?: boolean; readonly isInitFamily?: boolean }): Uint8Array {
  const container = containerOf(1);
  const { sha256 } = decodeContainer(encodeContainer(container));
  const executable = '/bin/helper';
  return encodeRecord(makeRecord({ containerSha256: sha256, containerId: container.id, executable, ...change }));
}

test('an entry has to say that such callers are served', { skip }, async () => {
  await using fixture = await Fixture.start();
  const container = containerOf(1);
  const session = await fixture.session(container);
  assert.equal((await session.ask(requestOf(container))).case, 'identities');
  const joined = requestOf(container, { record: recordOf({ joinedByExec: true }) });
  const refused = await session.ask(joined);
  assert.ok(refused.case === 'refusal');
  assert.equal(refused.value.code, 'server.entry.none', refused.value.sentence);
  assert.match(refused.value.sentence, /exec/);

  const foreign = await session.ask(requestOf(container, { record: recordOf({}) }));
  assert.ok(foreign.case === 'refusal', 'and one that is in other namespaces is never served');
  assert.equal(foreign.value.code, 'container.caller.foreign');

  const selectors = ['lacre:container-name:app-1', 'lacre:exec:allowed'];
  await fixture.server.createEntry('/debug', fixture.node.spiffeId, selectors);
  const allowed = await session.ask(requestOf(container, { record: recordOf({ joinedByExec: true }) }));
  assert.ok(allowed.case === 'identities');
  assert.deepEqual(
    allowed.value.x509.map(({ spiffeId }) => spiffeId),
    ['spiffe://lacre.test/debug'],
  );
  session.close();
});
