import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containerOf, digestOf, Fixture, requestOf, uidOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// One container (A1) writes a program into a volume that another one executes from, so that the entry, which has the owner of the file,
// is laid at the wrong door.

const skip = skipWithoutSoftwareTpm();

const volume = (readOnly: boolean, noexec: boolean) => {
  const mount = { target: '/srv', type: 'ext4', root: '/srv', readOnly, noexec, sourceKind: 'volume' };
  return { $typeName: 'lacre.v1.Mount' as const, ...mount, superOptions: '', peer: '8:1' };
};

test('containers that can execute what the other wrote are not told apart', { skip }, async () => {
  await using fixture = await Fixture.start();
  const { node, server } = fixture;
  await server.createEntry('/exact', node.spiffeId, [
    'lacre:image-name:registry.test/app:1',
    'lacre:attribution:exact',
  ]);
  const mounts = (number: number, ...more: ReturnType<typeof volume>[]) => [...containerOf(number).mounts, ...more];
  const writer = containerOf(1, { mounts: mounts(1, volume(false, true)) });
  const victim = containerOf(2, { mounts: mounts(2, volume(true, false)) });
  const apart = containerOf(3);
  const session = await fixture.session(writer, victim, apart);
  const held = async (container: typeof apart) => {
    const outcome = await session.ask(requestOf(container));
    return outcome.case === 'identities'
      ? outcome.value.x509.length
      : outcome.case === 'refusal'
        ? outcome.value.code
        : '';
  };
  assert.equal(await held(apart), 2);
  assert.equal(await held(victim), 1, 'not exact');
  await node.kernel.measureContainer({ path: '/srv/miner', sha256: digestOf('miner') }, { uid: uidOf(1) });
  assert.equal(await held(writer), 'appraisal.file.unknown');
  assert.notEqual(await held(victim), 1, 'nor does the one keep its identity that may have run it');
  assert.equal(await held(apart), 2, 'who has no part in the volume is not harmed');
  session.close();
});
