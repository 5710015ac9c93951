import { createHash } from 'node:crypto';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { FLATTEN_LIMITS } from '../../src/appraisal/reference/flatten-limits.ts';
import { openLayerTar } from '../../src/appraisal/reference/layer-stream.ts';
import { tarEntry } from './appraisal-image.ts';
import type { FuzzTarget } from './engine/target.ts';

const tar = Buffer.concat([tarEntry('a', '0', 'content'), Buffer.alloc(1024)]);
const diffId = `sha256:${createHash('sha256').update(tar).digest('hex')}`;

async function* once(bytes: Uint8Array) {
  yield bytes;
}

/** A compressed layer, whose own digest is right. */
export const target: FuzzTarget = {
  parsers: ['src/appraisal/reference/layer-stream.ts#openLayerTar'],
  seeds: () => [new Uint8Array(gzipSync(tar)), new Uint8Array(zstdCompressSync(tar)), new Uint8Array(tar)],
  words: [Uint8Array.of(0x1f, 0x8b, 8), Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd)],
  maxBytes: 1 << 20,
  fastMs: 300,
  run: async (bytes) => {
    const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    const limits = { ...FLATTEN_LIMITS, totalBytes: 1 << 24, freeBytes: 1 << 20 };
    let plain = 0;
    for await (const chunk of openLayerTar(once(bytes), { digest, diffId }, limits, { plainBytes: 0 }))
      plain += chunk.length;
    return plain;
  },
};
