import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containerOf, digestOf, Fixture, requestOf, uidOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// Code in a container that may make user namespaces (A1) gives a file an owner of another container's range, and executes or reads it:
// the kernel logs that owner.

const CLOSED = { lockdown: 'integrity', kernel: '6.1.0-test', kexecLoadDisabled: 2, ptraceScope: 4 };
const skip = skipWithoutSoftwareTpm();

test('where one container may do it, no container is told apart by owners', { skip }, async () => {
  await using fixture = await Fixture.start();
  const { node, server } = fixture;
  await server.createEntry('/exact', node.spiffeId, [
    'lacre:image-name:registry.test/app:1',
    'lacre:attribution:exact',
  ]);
  const [honest, loose] = [containerOf(1), containerOf(2, { seccompDeniesUserns: false })];
  const session = await fixture.session(honest);
  session.send({ case: 'observation', value: { ...CLOSED, unprivilegedUsernsClone: 2 } });
  const before = await session.ask(requestOf(honest));
  assert.ok(before.case === 'identities');
  assert.equal(before.value.x509.length, 2, 'its profile denies it');
  await fixture.run(loose);
  session.tellMore(loose);
  const after = await session.ask(requestOf(honest));
  assert.ok(after.case === 'identities');
  assert.equal(after.value.x509.length, 1, 'exact for nobody, while such a container runs');
  assert.ok((await server.findingsOf('app-1')).includes('container.attribution.shared'));
  await node.kernel.measureContainer({ path: '/tmp/miner', sha256: digestOf('miner') }, { uid: uidOf(1) });
  for (const [container, code] of [
    [honest, 'appraisal.file.unknown'],
    [loose, 'appraisal.shared.failed'],
  ] as const) {
    const outcome = await session.ask(requestOf(container));
    assert.ok(outcome.case === 'refusal');
    assert.equal(outcome.value.code, code);
  }
  session.close();
});
