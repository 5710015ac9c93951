import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { approvedFiles, file, hexOf, layeredImage } from './layer-fixture.ts';

// The network, or a registry (A4), serves another layer than the manifest names while an operator approves the image.

const layers = [[file('bin/app', 'app')]];

test('the layer that the manifest names becomes reference values', async () => {
  assert.deepEqual(await approvedFiles(await layeredImage(layers)), { '/bin/app': hexOf('app') });
});

test('another one is refused, and so is one that ends early', async () => {
  const other = await layeredImage(layers, () => new Uint8Array(gzipSync(new Uint8Array(1024))));
  await assert.rejects(approvedFiles(other), { code: 'appraisal.image.digest' });
  await assert.rejects(approvedFiles(await layeredImage(layers, () => new Uint8Array())), {
    code: 'appraisal.image.digest',
  });
});
