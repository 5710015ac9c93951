import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hostFilesFromInitrd } from '../../appraisal/reference/initrd-files.ts';
import { sha256 } from '../../bytes/sha256.ts';
import { imaPolicy } from '../../ima/policy.ts';
import { makeInitrd } from './initrd.ts';

const parts = {
  seal: Buffer.from('the seal'),
  modules: [
    { name: 'failover', bytes: Buffer.from('one') },
    { name: 'virtio_net', bytes: Buffer.from('other') },
  ],
  uidPoolBase: 300_000,
  root: '/dev/vda squashfs',
  nextInit: '/sbin/init',
};

test('reference values are read from the initrd: its policy, and path and digest of every file', async () => {
  const { files, policy } = await hostFilesFromInitrd(makeInitrd(parts));
  assert.equal(new TextDecoder().decode(policy), imaPolicy(300_000));
  const digests = new Map([...files].map(({ path, sha256 }) => [path, Buffer.from(sha256)]));
  assert.deepEqual(digests.get('/init'), Buffer.from(sha256(parts.seal)));
  assert.deepEqual(digests.get('/mods/virtio_net.ko'), Buffer.from(sha256(Buffer.from('other'))));
  assert.deepEqual(
    digests.get('/lacre/modules'),
    Buffer.from(sha256(Buffer.from('/mods/failover.ko\n/mods/virtio_net.ko\n'))),
  );
});

test('the same parts give the same bytes, another pool others', () => {
  assert.deepEqual(makeInitrd(parts), makeInitrd(parts));
  assert.notDeepEqual(makeInitrd(parts), makeInitrd({ ...parts, uidPoolBase: 400_000 }));
});
