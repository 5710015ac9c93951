import assert from 'node:assert/strict';
import { test } from 'node:test';
import { approvedFiles, file, folder, hexOf, layeredImage } from './layer-fixture.ts';

// Whoever builds images deletes a file in a way that the engine and the reference values see differently: the container then has, and
// executes, what nobody thinks it has; or an old, vulnerable program stays approved after it was deleted.

const filesOf = async (...layers: Parameters<typeof layeredImage>[0]) => approvedFiles(await layeredImage(layers));

test('what an upper layer deletes is no reference value any more', async () => {
  const lower = [folder('bin'), file('bin/app', 'a'), file('bin/old', 'vulnerable')];
  assert.deepEqual(await filesOf(lower, [file('bin/.wh.old', '')]), { '/bin/app': hexOf('a') });
});

test('a whiteout beside its own file, before or after it, hides nothing', async () => {
  for (const layer of [
    [file('bin/.wh.x', ''), file('bin/x', 'x')],
    [file('bin/x', 'x'), file('bin/.wh.x', '')],
  ])
    assert.deepEqual(await filesOf(layer), { '/bin/x': hexOf('x') });
});

test('a whiteout of nothing, of the folder itself or of its parent is refused', async () => {
  for (const name of ['bin/.wh.', 'bin/.wh..', 'bin/.wh...'])
    await assert.rejects(filesOf([file('bin/x', 'x')], [file(name, '')]), { code: 'appraisal.image.malformed' }, name);
});
