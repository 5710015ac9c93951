import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containerOf, digestOf, Fixture, requestOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// Root of the host (A2) executes a file from a FUSE file system right after a quote, and lets the node's identities work until
// the next one. Nothing says that it was a container: the host is no longer what the entries ask for.

const skip = skipWithoutSoftwareTpm();

test('what lowers the host’s grade counts before a quote covers it', { skip }, async () => {
  await using fixture = await Fixture.start();
  const { node, server } = fixture;
  const closed = containerOf(1, {
    rootReadOnly: true,
    mounts: containerOf(1).mounts.map((mount) => ({ ...mount, readOnly: true })),
  });
  await server.createEntry('/any-host', node.spiffeId, ['lacre:image-name:registry.test/app:1', 'lacre:host:open']);
  const session = await fixture.session(closed);
  const before = await session.ask(requestOf(closed));
  assert.ok(before.case === 'identities');
  assert.equal(before.value.x509.length, 2);
  await node.kernel.measureContainer({ path: '/mnt/app', sha256: digestOf('good bytes') }, { uid: 0 }, 14);
  await session.sendList();
  await session.next('entriesChanged');
  const [info] = (await server.admin.listNodes({})).nodes;
  const selectors = info?.host?.selectors.filter((selector) => selector.startsWith('lacre:host:'));
  assert.deepEqual(selectors, ['lacre:host:open'], 'the administrator sees it at once');
  assert.ok(info?.host?.findings.some(({ code }) => code === 'ima.filesystem.untrusted'));
  const after = await session.ask(requestOf(closed));
  assert.ok(after.case === 'identities');
  assert.deepEqual(
    after.value.x509.map(({ spiffeId }) => spiffeId),
    ['spiffe://lacre.test/any-host'],
    'only the entry that accepts an open host is left',
  );
  session.close();
});
