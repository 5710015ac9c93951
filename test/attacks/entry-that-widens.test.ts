import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containerOf, Fixture, requestOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// Whoever may make entries adds a second one for the SPIFFE ID of another service, which asks for less than the first.

const skip = skipWithoutSoftwareTpm();
const shared = { uidMap: [{ $typeName: 'lacre.v1.IdExtent' as const, inside: 0, outside: 0, length: 0xffff_ffff }] };

test('the strictest of all entries of a SPIFFE ID holds for each', { skip }, async () => {
  await using fixture = await Fixture.start();
  const { node, server } = fixture;
  await server.entries.batchDeleteEntry({ ids: [fixture.entryId] });
  await server.createEntry('/vault', node.spiffeId, [
    'lacre:image-name:registry.test/app:1',
    'lacre:attribution:exact',
  ]);
  const [exact, weak] = [containerOf(1), containerOf(2, { ...shared, hostNamespaces: ['user'] })];
  const session = await fixture.session(exact);
  const first = await session.ask(requestOf(exact));
  assert.ok(first.case === 'identities');
  assert.equal(first.value.x509[0]?.spiffeId, 'spiffe://lacre.test/vault');

  await server.createEntry('/vault', node.spiffeId, ['lacre:container-name:app-2']);
  await fixture.run(weak);
  session.tellMore(weak);
  const second = await session.ask(requestOf(weak));
  assert.ok(second.case === 'refusal');
  assert.equal(second.value.verdict?.trusted, true, 'it is a sound container');
  assert.equal(second.value.code, 'server.entry.none');
  assert.ok(second.value.verdict?.findings.some(({ code }) => code === 'appraisal.requirement.unmet'));
  session.close();
});
