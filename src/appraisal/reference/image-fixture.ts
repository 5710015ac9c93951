/** Tests only: images in memory, made of tar archives. */
import { gzipSync } from 'node:zlib';
import { type Header, pack } from 'tar-stream';
import { sha256Hex } from '../../bytes/sha256.ts';
import { flattenImage, type OciSource } from './flatten-image.ts';
import type { ImageReference } from './image-reference.ts';

/** A name of an archive with its header and content. */
export type TarName = [header: Partial<Header> & { name: string; pax?: Record<string, string> }, content?: string];
export type Compression = (tar: Uint8Array) => Uint8Array;

export const gzip: Compression = (tar) => gzipSync(tar);
export const none: Compression = (tar) => tar;

export async function tarOf(names: TarName[]): Promise<Uint8Array> {
  const archive = pack();
  for (const [header, content] of names) archive.entry({ mode: 0o755, ...header }, content ?? '');
  archive.finalize();
  const chunks: Uint8Array[] = [];
  for await (const chunk of archive as AsyncIterable<Uint8Array>) chunks.push(chunk);
  return new Uint8Array(Buffer.concat(chunks));
}

export interface Facts {
  readonly process?: Record<string, unknown>;
  readonly compress?: Compression;
  readonly mangle?: (layers: Uint8Array[]) => Uint8Array[];
}

/** An image in memory, in pieces of 1000 bytes. */
export async function imageOf(
  layers: TarName[][],
  { process = {}, compress = gzip, mangle }: Facts = {},
): Promise<OciSource> {
  const tars = await Promise.all(layers.map(tarOf));
  return imageOfTars(tars, process, compress, mangle);
}

export function imageOfTars(
  tars: Uint8Array[],
  process: object = {},
  compress: Compression = gzip,
  mangle: Facts['mangle'] = (l) => l,
): OciSource {
  const blobs = tars.map(compress);
  const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
  const config = json({
    config: process,
    rootfs: { type: 'layers', diff_ids: tars.map((tar) => `sha256:${sha256Hex(tar)}`) },
  });
  const described = blobs.map((blob) => ({ digest: `sha256:${sha256Hex(blob)}`, size: blob.length }));
  const manifest = json({
    schemaVersion: 2,
    config: { digest: `sha256:${sha256Hex(config)}`, size: config.length },
    layers: described,
  });
  const byDigest = new Map(mangle(blobs).map((blob, i) => [described[i]?.digest, blob]));
  return {
    manifest,
    config,
    names: ['test:1'],
    async *openLayer(digest) {
      const blob = byDigest.get(digest) ?? new Uint8Array();
      for (let at = 0; at < blob.length; at += 1000) yield blob.subarray(at, at + 1000);
    },
  };
}

export async function filesOf(...layers: TarName[][]): Promise<Record<string, string>> {
  return contents(await flattenImage(await imageOf(layers)), layers);
}

/** path → content, by looking the digests up among what was put in. */
export function contents(image: ImageReference, layers: TarName[][]): Record<string, string> {
  const known = new Map(
    layers.flat().map(([, content = '']) => [sha256Hex(new TextEncoder().encode(content)), content]),
  );
  return Object.fromEntries(
    [...image.files].map((file) => [file.path, known.get(Buffer.from(file.sha256).toString('hex')) ?? '?']),
  );
}

export const dir = (name: string): TarName => [{ name, type: 'directory' }];
export const file = (name: string, content: string): TarName => [{ name }, content];
export const symlink = (name: string, linkname: string): TarName => [{ name, type: 'symlink', linkname }];
export const hardLink = (name: string, linkname: string): TarName => [{ name, type: 'link', linkname }];

/** The one header of an archive, changed. */
export async function headerOf(name: TarName, change: (tar: Buffer) => void): Promise<Record<string, string>> {
  const tar = Buffer.from(await tarOf([name]));
  change(tar);
  mendChecksum(tar, 0);
  return contents(await flattenImage(imageOfTars([new Uint8Array(tar)])), []);
}

/** Makes a damaged header pass as a header. */
export function mendChecksum(tar: Buffer, at: number): void {
  tar.fill(0x20, at + 148, at + 156);
  const sum = tar.subarray(at, at + 512).reduce((a, b) => a + b, 0);
  tar.write(`${sum.toString(8).padStart(6, '0')}\0 `, at + 148, 'latin1');
}
