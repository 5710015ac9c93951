import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containerOf, Fixture, requestOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// Whoever may start containers starts a good image otherwise than it says: another program or other arguments, another folder, another
// user, powers or devices that engines do not give.

const skip = skipWithoutSoftwareTpm();
const bind = { target: '/bin', type: 'ext4', root: '/evil', readOnly: true, noexec: true, sourceKind: 'bind' };
const mounts = [
  ...containerOf(1).mounts,
  { $typeName: 'lacre.v1.Mount' as const, ...bind, superOptions: '', peer: '8:1' },
];
const starts = [
  [{ argv: ['/bin/helper'] }, 'appraisal.config.argv'],
  [{ argv: ['/bin/app', '--debug'] }, 'appraisal.config.argv'],
  [{ cwd: '/tmp' }, 'appraisal.config.cwd'],
  [{ uid: 1 }, 'appraisal.config.user'],
  [{ mounts }, 'appraisal.config.mount'],
  [{ capabilities: 1n << 19n }, 'appraisal.config.capabilities'],
  [{ devices: ['/dev/mem'] }, 'appraisal.config.devices'],
  [{ hostNamespaces: ['net'] }, 'appraisal.config.namespaces'],
] as const;

test('an entry that asks for the image as it is refuses each, and says what differs', { skip }, async () => {
  await using fixture = await Fixture.start();
  const { node, server } = fixture;
  await server.entries.batchDeleteEntry({ ids: [fixture.entryId] });
  await server.createEntry('/orders', node.spiffeId, ['lacre:image-name:registry.test/app:1', 'lacre:config:image']);
  const honest = containerOf(1);
  const session = await fixture.session(honest);
  assert.equal((await session.ask(requestOf(honest))).case, 'identities');
  for (const [index, [change, expected]] of starts.entries()) {
    const container = containerOf(index + 2, change as Partial<typeof honest>);
    await fixture.run(container);
    session.tellMore(container);
    const outcome = await session.ask(requestOf(container));
    assert.ok(outcome.case === 'refusal', expected);
    assert.equal(outcome.value.code, 'server.entry.none', outcome.value.sentence);
    const codes = outcome.value.verdict?.findings.map(({ code }) => code);
    assert.ok(codes?.includes(expected), `${expected}: ${codes?.join()}`);
  }
  assert.equal((await session.ask(requestOf(honest))).case, 'identities', 'who runs as the image says keeps its own');
  session.close();
});
