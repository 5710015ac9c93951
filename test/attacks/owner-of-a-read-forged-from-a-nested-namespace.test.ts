import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containerOf, digestOf, Fixture, requestOf, uidOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// Code in a container that may make user namespaces (A1) gives a file an owner of another container's range and reads it: to have one
// of its own pass as the other's. It can have the other refused (nested namespaces are to be denied), and gets nothing by it.

const CLOSED = { lockdown: 'integrity', kernel: '6.1.0-test', kexecLoadDisabled: 2, ptraceScope: 4 };
const READS = 13;
const skip = skipWithoutSoftwareTpm();

const readOnly = (number: number) =>
  containerOf(number, {
    rootReadOnly: true,
    mounts: containerOf(number).mounts.map((mount) => ({ ...mount, readOnly: true })),
  });

test('where one container may do it, reads prove nothing of any container by itself', { skip }, async () => {
  await using fixture = await Fixture.start();
  const { node, server } = fixture;
  const image = 'lacre:image-name:registry.test/app:1';
  await server.createEntry('/reads', node.spiffeId, [image, 'lacre:coverage:read']);
  const honest = readOnly(1);
  const loose = containerOf(2, { seccompDeniesUserns: false });
  const session = await fixture.session(honest);
  session.send({ case: 'observation', value: { ...CLOSED, unprivilegedUsernsClone: 2 } });
  const before = await session.ask(requestOf(honest));
  assert.ok(before.case === 'identities');
  assert.equal(before.value.x509.length, 2, 'its profile denies it, so what it reads is covered');

  await fixture.run(loose);
  session.tellMore(loose);
  const after = await session.ask(requestOf(honest));
  assert.ok(after.case === 'identities');
  assert.deepEqual(
    after.value.x509.map(({ spiffeId }) => spiffeId),
    ['spiffe://lacre.test/orders'],
    'the entry that asks for covered reads is for it no more',
  );
  assert.ok((await server.findingsOf('app-1')).includes('container.attribution.shared'));
  await node.kernel.measureContainer({ path: '/srv/main.py', sha256: digestOf('changed') }, { uid: uidOf(1) }, READS);
  const refused = await session.ask(requestOf(honest));
  assert.ok(refused.case === 'refusal', 'whose read it was is not known: it is held against who could have made it');
  assert.equal(refused.value.code, 'appraisal.file.unknown');
  const forger = await session.ask(requestOf(loose));
  assert.ok(forger.case === 'identities', 'of a writable root reads say nothing, so this one gains nothing by them');
  assert.deepEqual(
    forger.value.x509.map(({ spiffeId }) => spiffeId),
    ['spiffe://lacre.test/orders'],
  );
  session.close();
});

test('where none may do it, the owner is believed: the read counts', { skip }, async () => {
  await using fixture = await Fixture.start();
  const [honest, neighbour] = [readOnly(1), readOnly(2)];
  const session = await fixture.session(honest, neighbour);
  assert.equal((await session.ask(requestOf(honest))).case, 'identities');
  const file = { path: '/srv/main.py', sha256: digestOf('changed') };
  await fixture.node.kernel.measureContainer(file, { uid: uidOf(1) }, READS);
  const refused = await session.ask(requestOf(honest));
  assert.ok(refused.case === 'refusal');
  assert.equal(refused.value.code, 'appraisal.file.unknown');
  assert.equal((await session.ask(requestOf(neighbour))).case, 'identities');
  session.close();
});
