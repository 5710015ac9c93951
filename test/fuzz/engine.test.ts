import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { Coverage } from './engine/coverage.ts';
import { fuzz, shrink } from './engine/fuzz-loop.ts';
import type { FuzzTarget } from './engine/target.ts';

/** Falls only behind five conditions, each of which one byte in sixteen fulfils: by chance, one input in a million. */
const PLANTED = `export function read(bytes) {
  if ((bytes[0] & 15) !== 12) return 0;
  if ((bytes[1] & 15) !== 9) return 1;
  if ((bytes[2] & 15) !== 7) return 2;
  if ((bytes[3] & 15) !== 1) return 3;
  if ((bytes[4] & 15) !== 5) return 4;
  throw new TypeError('planted');
}`;

test('a fault behind several conditions is reached by coverage, and its input made short', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'lacre-fuzz-'));
  try {
    using coverage = new Coverage();
    await writeFile(join(folder, 'planted.mjs'), PLANTED);
    const { read } = (await import(pathToFileURL(join(folder, 'planted.mjs')).href)) as { read: FuzzTarget['run'] };
    const target: FuzzTarget = { parsers: [], seeds: () => [new Uint8Array(5)], maxBytes: 64, run: read };
    const { runs, corpus, findings } = await fuzz(target, { cpuMs: 4000, seed: 1, coverage });
    assert.ok(corpus.length >= 5, `${corpus.length} inputs kept of ${runs}`);
    const [finding] = findings;
    assert.equal(finding?.rule, 'only the typed error escapes');
    assert.equal((await shrink(target, finding)).bytes.length, 5);
  } finally {
    await rm(folder, { recursive: true });
  }
});
