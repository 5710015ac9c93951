import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EnvironmentName_Relation as Relation } from '../../src/proto/lacre/v1/record_pb.ts';
import { containerOf, Fixture, requestOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// Whoever may start containers runs an approved image in another way than it says: other arguments, a library put before all
// others, a folder over the image's own. Every file that runs is approved.

const skip = skipWithoutSoftwareTpm();
const plain = containerOf(1);
const bind = { target: '/lib', type: 'ext4', root: '/evil', readOnly: false, noexec: true, sourceKind: 'bind' };
const variable = { $typeName: 'lacre.v1.EnvironmentName' as const, name: 'LD_PRELOAD', relation: Relation.ADDED };

test('an entry that asks for the image as it is, is for no such container', { skip }, async () => {
  await using fixture = await Fixture.start();
  const { node, server } = fixture;
  await server.createEntry('/as-it-is', node.spiffeId, ['lacre:image-name:registry.test/app:1', 'lacre:config:image']);
  const session = await fixture.session(plain);
  const honest = await session.ask(requestOf(plain));
  assert.ok(honest.case === 'identities');
  assert.equal(honest.value.x509.length, 2);

  const mount = { $typeName: 'lacre.v1.Mount' as const, ...bind, superOptions: '', peer: '8:1' };
  for (const [number, change, code] of [
    [2, { argv: ['/bin/app', '--debug'] }, 'appraisal.config.argv'],
    [3, { environment: [variable] }, 'appraisal.config.interpreter'],
    [4, { mounts: [...plain.mounts, mount] }, 'appraisal.config.mount'],
    [5, { uid: 1 }, 'appraisal.config.user'],
  ] as const) {
    const container = containerOf(number, change as Partial<typeof plain>);
    await fixture.run(container);
    session.tellMore(container);
    const outcome = await session.ask(requestOf(container));
    assert.ok(outcome.case === 'identities', 'an entry that asks for nothing of the kind');
    assert.deepEqual(
      outcome.value.x509.map(({ spiffeId }) => spiffeId),
      ['spiffe://lacre.test/orders'],
      Object.keys(change).join(),
    );
    assert.ok((await server.findingsOf(`app-${number}`)).includes(code), code);
  }
  session.close();
});
