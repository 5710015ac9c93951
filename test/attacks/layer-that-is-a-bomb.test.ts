import assert from 'node:assert/strict';
import { test } from 'node:test';
import { approvedFiles, file, hexOf, layeredImage } from './layer-fixture.ts';

// Whoever builds images fills the machine that approves them: kilobytes that unpack to gigabytes, names without end.

const zeros = '\0'.repeat(4_000_000);

test('a large file that compresses well is read, within the bounds', async () => {
  assert.deepEqual(await approvedFiles(await layeredImage([[file('big', zeros)]])), { '/big': hexOf(zeros) });
});

test('more bytes, another ratio or more names than are accepted are refused', async () => {
  const bomb = await layeredImage([[file('big', zeros)]]);
  const over = { code: 'appraisal.image.oversized' };
  await assert.rejects(approvedFiles(bomb, { totalBytes: 1_000_000 }), over);
  await assert.rejects(approvedFiles(bomb, { freeBytes: 1_000_000 }), over);
  const many = Array.from({ length: 101 }, (_, i) => file(`f${i}`, ''));
  await assert.rejects(approvedFiles(await layeredImage([many]), { entries: 100 }), over);
});
