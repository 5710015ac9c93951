import { createHash } from 'node:crypto';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { LacreError } from '../../lacre-error.ts';
import { type FlattenLimits, oversized } from './flatten-limits.ts';
import { pump, type Sink } from './pump.ts';

type Decompressor = ReturnType<typeof createGunzip> | ReturnType<typeof createZstdDecompress>;

/** Bytes of all layers so far, shared by the layers of one image. */
export interface ByteBudget {
  plainBytes: number;
}

/** What names a layer: of its bytes as they travel (manifest), and of its tar archive (configuration, diff_id). */
export interface LayerDigests {
  readonly digest: string;
  readonly diffId: string;
}

/**
 * The tar archive of a layer, decompressed by what its first bytes say (gzip, zstd, none). When it has been read to its
 * end, both digests have been checked. Until then every byte is unproven: what was made of it must be dropped if this
 * throws.
 *
 * Throws appraisal.image.digest, appraisal.image.compression, appraisal.image.oversized.
 */
export async function* openLayerTar(
  compressed: AsyncIterable<Uint8Array>,
  digests: LayerDigests,
  limits: FlattenLimits,
  budget: ByteBudget,
): AsyncGenerator<Uint8Array> {
  const outer = createHash('sha256');
  const inner = createHash('sha256');
  let compressedBytes = 0;
  let plainBytes = 0;
  const counted = (async function* () {
    for await (const chunk of compressed) {
      outer.update(chunk);
      compressedBytes += chunk.length;
      yield chunk;
    }
  })();
  for await (const chunk of decompressed(counted)) {
    inner.update(chunk);
    plainBytes += chunk.length;
    budget.plainBytes += chunk.length;
    if (budget.plainBytes > limits.totalBytes) throw oversized(`its layers hold more than ${limits.totalBytes} bytes`);
    if (plainBytes > limits.freeBytes && plainBytes > limits.ratio * compressedBytes) {
      throw oversized(`a layer is more than ${limits.ratio} times larger than compressed`, {
        compressedBytes,
        plainBytes,
      });
    }
    yield chunk;
  }
  requireDigest(`sha256:${outer.digest('hex')}`, digests.digest, 'layer');
  requireDigest(`sha256:${inner.digest('hex')}`, digests.diffId, 'archive of the layer');
}

/** Throws appraisal.image.digest. */
export function requireDigest(seen: string, expected: string, what: string): void {
  if (seen !== expected) {
    throw new LacreError('appraisal.image.digest', `the ${what} has the digest ${seen}, not ${expected}`, {
      seen,
      expected,
    });
  }
}

async function* decompressed(source: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
  const head: Uint8Array[] = [];
  let headBytes = 0;
  while (headBytes < 4) {
    const next = await source.next();
    if (next.done) break;
    head.push(next.value);
    headBytes += next.value.length;
  }
  const whole = (async function* () {
    yield* head;
    yield* source;
  })();
  const decompressor = decompressorFor(Buffer.concat(head));
  yield* decompressor === undefined ? whole : through(whole, decompressor);
}

function decompressorFor(head: Buffer): Decompressor | undefined {
  if (head.length >= 2 && head.readUInt16BE(0) === 0x1f8b) return createGunzip(); // RFC 1952, 2.3.1
  if (head.length >= 4 && head.readUInt32LE(0) === 0xfd2fb528) return createZstdDecompress(); // RFC 8878, 3.1.1
  return undefined;
}

async function* through(source: AsyncIterable<Uint8Array>, decompressor: Decompressor): AsyncGenerator<Uint8Array> {
  const feeding = pump(source, decompressor as unknown as Sink);
  try {
    yield* decompressor as AsyncIterable<Uint8Array>;
  } catch (cause) {
    if (cause instanceof LacreError) throw cause;
    throw new LacreError('appraisal.image.compression', 'the compressed data of a layer is damaged', {}, { cause });
  } finally {
    await feeding; // whoever stops reading has destroyed the decompressor, which ends it
  }
}
