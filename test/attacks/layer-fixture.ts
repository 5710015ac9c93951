import { gzipSync } from 'node:zlib';
import { flattenImage, type OciSource } from '../../src/appraisal/reference/flatten-image.ts';
import { FLATTEN_LIMITS, type FlattenLimits } from '../../src/appraisal/reference/flatten-limits.ts';
import { type TarName, tarOf } from '../../src/appraisal/reference/image-fixture.ts';
import { sha256Hex } from '../../src/bytes/sha256.ts';

export const file = (name: string, content: string): TarName => [{ name }, content];
export const folder = (name: string): TarName => [{ name, type: 'directory' }];
export const symlink = (name: string, linkname: string): TarName => [{ name, type: 'symlink', linkname }];
export const hardLink = (name: string, linkname: string): TarName => [{ name, type: 'link', linkname }];

/** An image of these layers, gzip-compressed; `swap` may serve other bytes than the manifest says. */
export async function layeredImage(layers: TarName[][], swap = (blob: Uint8Array) => blob): Promise<OciSource> {
  const tars = await Promise.all(layers.map(tarOf));
  const blobs = tars.map((tar) => new Uint8Array(gzipSync(tar)));
  const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
  const diffIds = tars.map((tar) => `sha256:${sha256Hex(tar)}`);
  const config = json({ config: {}, rootfs: { type: 'layers', diff_ids: diffIds } });
  const described = blobs.map((blob) => ({ digest: `sha256:${sha256Hex(blob)}`, size: blob.length }));
  const about = { digest: `sha256:${sha256Hex(config)}`, size: config.length };
  return {
    manifest: json({ schemaVersion: 2, config: about, layers: described }),
    config,
    names: ['test:1'],
    async *openLayer(digest) {
      yield swap(blobs[described.findIndex((layer) => layer.digest === digest)] ?? new Uint8Array());
    },
  };
}

/** Hex digests by path, as an operator would approve them. */
export async function approvedFiles(
  image: OciSource,
  limits: Partial<FlattenLimits> = {},
): Promise<Record<string, string>> {
  const { files } = await flattenImage(image, { ...FLATTEN_LIMITS, ...limits });
  return Object.fromEntries([...files].map(({ path, sha256 }) => [path, Buffer.from(sha256).toString('hex')]));
}

export function hexOf(content: string): string {
  return sha256Hex(new TextEncoder().encode(content));
}
