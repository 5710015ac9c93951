import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Container } from '../../src/proto/lacre/v1/record_pb.ts';
import { containerOf, Fixture, requestOf, type ScriptedSession } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// A container that nothing keeps from user namespaces of its own runs for a moment (A1): whoever was in it may have made
// files in any range. The network (A4) cuts the agent's connection as soon as it has told of it, before the next quote.

const skip = skipWithoutSoftwareTpm();

async function idsOf(session: ScriptedSession, container: Container): Promise<string[]> {
  const outcome = await session.ask(requestOf(container));
  return outcome.case === 'identities' ? outcome.value.x509.map(({ spiffeId }) => spiffeId).sort() : [];
}

async function start(): Promise<Fixture> {
  const fixture = await Fixture.start();
  const selectors = ['lacre:image-name:registry.test/app:1', 'lacre:attribution:exact'];
  await fixture.server.createEntry('/exact', fixture.node.spiffeId, selectors);
  return fixture;
}

const exact = ['spiffe://lacre.test/exact', 'spiffe://lacre.test/orders'];
const loose = containerOf(2, { seccompDeniesUserns: false });

test('a cut alone takes nothing from a container', { skip }, async () => {
  await using fixture = await start();
  const container = containerOf(1);
  const first = await fixture.session(container);
  assert.deepEqual(await idsOf(first, container), exact);
  first.close();
  const second = await fixture.session(container);
  assert.deepEqual(await idsOf(second, container), exact);
  assert.deepEqual(await fixture.server.findingsOf('app-1'), []);
  second.close();
});

test('a miss that was told counts after the cut', { skip }, async () => {
  await using fixture = await start();
  const container = containerOf(1);
  const first = await fixture.session(container);
  assert.deepEqual(await idsOf(first, container), exact);
  first.send({ case: 'observation', value: { lockdown: 'integrity', kexecLoadDisabled: 2, ptraceScope: 4 } });
  first.tellMore(loose);
  await first.next('entriesChanged');
  first.close();
  const second = await fixture.session(container);
  assert.deepEqual(await idsOf(second, container), ['spiffe://lacre.test/orders']);
  assert.ok((await fixture.server.findingsOf('app-1')).includes('container.attribution.shared'));
  second.close();
});
