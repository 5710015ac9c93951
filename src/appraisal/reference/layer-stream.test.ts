import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { sha256Hex } from '../../bytes/sha256.ts';
import { FLATTEN_LIMITS, type FlattenLimits } from './flatten-limits.ts';
import { type LayerDigests, openLayerTar } from './layer-stream.ts';

const digestOf = (bytes: Uint8Array) => `sha256:${sha256Hex(bytes)}`;
const digestsOf = (blob: Uint8Array, plain: Uint8Array): LayerDigests => ({
  digest: digestOf(blob),
  diffId: digestOf(plain),
});
async function* piecesOf(blob: Uint8Array, size: number) {
  for (let at = 0; at < blob.length; at += size) yield blob.subarray(at, at + size);
}

interface Options {
  readonly plain?: Uint8Array;
  readonly limits?: Partial<FlattenLimits>;
  readonly budget?: { plainBytes: number };
  readonly size?: number;
}

/** All of a layer. */
async function readLayer(blob: Uint8Array, options: Options = {}): Promise<Buffer> {
  const { plain = blob, limits, budget = { plainBytes: 0 }, size = 1000 } = options;
  const bounds = { ...FLATTEN_LIMITS, ...limits };
  const chunks: Uint8Array[] = [];
  for await (const chunk of openLayerTar(piecesOf(blob, size), digestsOf(blob, plain), bounds, budget))
    chunks.push(chunk);
  return Buffer.concat(chunks);
}

const over = { code: 'appraisal.image.oversized' };
const PLAIN = new Uint8Array(Buffer.from(Array.from({ length: 200 }, (_, i) => i * 7919).join()));

test('what is packed is told by its first bytes, in pieces of any size', async () => {
  for (const pack of [gzipSync, zstdCompressSync, (bytes: Uint8Array) => bytes]) {
    const blob = new Uint8Array(pack(PLAIN));
    for (const size of [1, 2, 3, 4, 5, 1000]) {
      assert.deepEqual(new Uint8Array(await readLayer(blob, { plain: PLAIN, size })), PLAIN);
    }
  }
  for (const text of ['', '\x1f', '\x1f\x8c', '\x28\xb5\x2f', '\x28\xb5\x2f\xfe', 'abc']) {
    const bytes = new Uint8Array(Buffer.from(text, 'latin1'));
    assert.deepEqual(new Uint8Array(await readLayer(bytes)), bytes, JSON.stringify(text));
  }
});

test('what is cut is damaged, however little of it is left', async () => {
  for (const [pack, least] of [
    [gzipSync, 2],
    [zstdCompressSync, 4],
  ] as const) {
    const blob = new Uint8Array(pack(PLAIN));
    for (const length of [least, 10, blob.length - 1])
      await assert.rejects(readLayer(blob.subarray(0, length), { plain: PLAIN }), {
        code: 'appraisal.image.compression',
      });
  }
});

test('both digests are asked, and a refusal says of what', async () => {
  const blob = new Uint8Array(gzipSync(PLAIN));
  const good = digestsOf(blob, PLAIN);
  const read = async (digests: LayerDigests) => {
    for await (const _ of openLayerTar(piecesOf(blob, 1000), digests, FLATTEN_LIMITS, { plainBytes: 0 }));
  };
  await read(good);
  const wrong = { code: 'appraisal.image.digest' };
  await assert.rejects(read({ ...good, digest: good.diffId }), { ...wrong, message: /^the layer has the digest / });
  await assert.rejects(read({ ...good, diffId: good.digest }), { ...wrong, message: /^the archive of the layer has / });
});

test('all layers together hold as many bytes as they may', async () => {
  const limits = { totalBytes: PLAIN.length };
  const budget = { plainBytes: 0 };
  await readLayer(PLAIN, { limits, budget });
  assert.equal(budget.plainBytes, PLAIN.length);
  await assert.rejects(readLayer(Uint8Array.of(1), { limits, budget }), over);
  await assert.rejects(readLayer(PLAIN, { limits: { totalBytes: PLAIN.length - 1 } }), over);
});

test('beyond its first bytes a layer is so many times larger than compressed, and no more', async () => {
  const free = (bytes: number, freeBytes: number, ratio: number) =>
    readLayer(new Uint8Array(bytes).fill(1), { limits: { freeBytes, ratio }, size: 10 });
  await free(10, 10, 0);
  await assert.rejects(free(11, 10, 0), over);
  await free(100, 0, 1);
  await assert.rejects(free(1, 0, 0.9), (error: { code?: string; details?: object }) => {
    assert.deepEqual([error.code, error.details], [over.code, { compressedBytes: 1, plainBytes: 1 }]);
    return true;
  });
});

test('a layer is read as it is asked for, not ahead', async () => {
  for (const [sizes, expected] of [
    [[4, 1, 1], 1],
    [[3, 1, 1, 1], 2],
    [[1, 1, 1, 1, 1], 4],
  ] as const) {
    let taken = 0;
    const source = (async function* () {
      for (const size of sizes) {
        taken++;
        yield new Uint8Array(size).fill(0x20);
      }
    })();
    const layer = openLayerTar(source, { digest: '', diffId: '' }, FLATTEN_LIMITS, { plainBytes: 0 });
    await layer.next();
    assert.equal(taken, expected);
    await layer.return(undefined);
  }
});

test('a layer that is left before its end closes its source first', async () => {
  const blob = new Uint8Array(gzipSync(Buffer.from(Array.from({ length: 200_000 }, (_, i) => i * 7919).join())));
  let closed = false;
  const source = (async function* () {
    try {
      yield* piecesOf(blob, 1000);
    } finally {
      closed = true;
    }
  })();
  const layer = openLayerTar(source, { digest: '', diffId: '' }, FLATTEN_LIMITS, { plainBytes: 0 });
  await layer.next();
  await layer.return(undefined);
  assert.ok(closed);
});

test('zeros behind what is compressed belong to the layer', async () => {
  for (const zeros of [1, 512, 200_000]) {
    const blob = new Uint8Array(Buffer.concat([gzipSync(PLAIN), Buffer.alloc(zeros)]));
    assert.deepEqual(new Uint8Array(await readLayer(blob, { plain: PLAIN })), PLAIN);
  }
});
