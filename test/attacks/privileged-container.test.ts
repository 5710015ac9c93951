import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containerOf, Fixture, requestOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// A container is started with the powers of the host: privileged, with the host's processes in sight, or with the engine's socket.

const skip = skipWithoutSoftwareTpm();

const root = containerOf(1).mounts;
const socket = { target: '/run/podman.sock', type: 'tmpfs', root: '/podman.sock', readOnly: false, noexec: true };
const mounts = [
  ...root,
  { $typeName: 'lacre.v1.Mount' as const, ...socket, sourceKind: 'engine-socket', superOptions: '', peer: '0:25' },
];

test('it is the host, and has no identity of its own', { skip }, async () => {
  await using fixture = await Fixture.start();
  const honest = containerOf(1);
  const session = await fixture.session(honest);
  assert.equal((await session.ask(requestOf(honest))).case, 'identities');
  for (const [number, change] of [
    [2, { privileged: true }],
    [3, { hostNamespaces: ['pid'] }],
    [4, { mounts }],
  ] as const) {
    const container = containerOf(number, change as Partial<typeof honest>);
    await fixture.run(container);
    session.tellMore(container);
    const outcome = await session.ask(requestOf(container));
    assert.ok(outcome.case === 'refusal', Object.keys(change).join());
    assert.equal(outcome.value.code, 'container.attribution.host');
  }
  session.close();
});
