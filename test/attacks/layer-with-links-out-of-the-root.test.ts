import assert from 'node:assert/strict';
import { test } from 'node:test';
import { approvedFiles, file, folder, hardLink, hexOf, layeredImage, symlink } from './layer-fixture.ts';

// Whoever builds images names a file of the machine that approves them: by a hard link, by a symbolic link, by dots. Its digest would
// become a reference value, and so something that his container may execute.

const filesOf = async (...layers: Parameters<typeof layeredImage>[0]) => approvedFiles(await layeredImage(layers));

test('links within the image are followed', async () => {
  const names = [folder('usr/bin'), symlink('bin', 'usr/bin'), file('bin/sh', 's'), hardLink('usr/bin/ash', 'bin/sh')];
  assert.deepEqual(await filesOf(names), { '/usr/bin/sh': hexOf('s'), '/usr/bin/ash': hexOf('s') });
});

test('a hard link to what the archive does not hold is refused', async () => {
  await assert.rejects(filesOf([hardLink('b', '../../etc/passwd')]), { code: 'appraisal.image.path' });
  await assert.rejects(filesOf([hardLink('b', '/etc/passwd')]), { code: 'appraisal.image.malformed' });
});

test('a name that leaves the root is refused; a symbolic link ends at the root', async () => {
  await assert.rejects(filesOf([file('../etc/passwd', 'x')]), { code: 'appraisal.image.path' });
  const through = [folder('etc'), symlink('out', '../../../etc'), file('out/passwd', 'mine')];
  assert.deepEqual(await filesOf(through), { '/etc/passwd': hexOf('mine') });
});
