import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { gzipSync } from 'node:zlib';
import { z } from 'zod';
import { sha256Hex } from '../../bytes/sha256.ts';
import { FileTree } from './file-tree.ts';

const MEDIA = 'application/vnd.oci.image';
const DESCRIBED = z.looseObject({ digest: z.string() });
const INDEX = z.looseObject({ manifests: z.array(DESCRIBED) });
const MANIFEST = z.looseObject({ config: DESCRIBED, layers: z.array(DESCRIBED) });
const CONFIG = z.looseObject({ rootfs: z.looseObject({ diff_ids: z.array(z.string()) }) });

export interface ImageConfig {
  readonly Entrypoint: readonly string[];
  readonly Env: readonly string[];
  readonly WorkingDir: string;
  readonly Labels: Readonly<Record<string, string>>;
}

export interface Layer {
  readonly diffId: string;
  readonly digest: string;
  readonly bytes: Uint8Array;
}

/** A layer from a tree: tar, gzip. */
export async function makeLayer(tree: FileTree): Promise<Layer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of tree.tar()) chunks.push(chunk);
  const tar = Buffer.concat(chunks);
  const bytes = gzipSync(tar, { level: 1 });
  return { diffId: sha256Hex(tar), digest: sha256Hex(bytes), bytes };
}

/** The layers of the one image that such an archive holds, as they are. Throws lab.build.archive. */
export async function readOciLayers(path: string): Promise<Layer[]> {
  const archive = await FileTree.fromTar(path, () => true);
  const blob = (digest: string) => archive.resolve(`blobs/${digest.replace(':', '/')}`).bytes;
  const json = (bytes: Uint8Array): unknown => JSON.parse(Buffer.from(bytes).toString('utf8'));
  const [described] = INDEX.parse(json(archive.resolve('index.json').bytes)).manifests;
  const manifest = MANIFEST.parse(json(blob(described?.digest ?? '')));
  const { rootfs } = CONFIG.parse(json(blob(manifest.config.digest)));
  return manifest.layers.map(({ digest }, index) => ({
    digest: digest.replace('sha256:', ''),
    diffId: (rootfs.diff_ids[index] ?? '').replace('sha256:', ''),
    bytes: blob(digest),
  }));
}

/**
 * Writes an OCI archive (image-layout.md, in a tar file) with one image; gives its manifest digest, "sha256:…". The same
 * layers and configuration give the same bytes.
 */
export async function writeOciArchive(
  path: string,
  name: string,
  layers: readonly Layer[],
  config: ImageConfig,
): Promise<string> {
  const archive = new FileTree();
  const put = (bytes: Uint8Array, mediaType: string) => {
    const digest = sha256Hex(bytes);
    archive.file(`blobs/sha256/${digest}`, bytes);
    return { mediaType, digest: `sha256:${digest}`, size: bytes.length };
  };
  const json = (value: unknown) => Buffer.from(JSON.stringify(value));
  const configuration = put(
    json({
      architecture: 'amd64',
      os: 'linux',
      created: '1970-01-01T00:00:00Z',
      config,
      rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => `sha256:${diffId}`) },
      history: layers.map(() => ({ created: '1970-01-01T00:00:00Z', created_by: 'lacre lab' })),
    }),
    `${MEDIA}.config.v1+json`,
  );
  const manifest = put(
    json({
      schemaVersion: 2,
      mediaType: `${MEDIA}.manifest.v1+json`,
      config: configuration,
      layers: layers.map((layer) => put(layer.bytes, `${MEDIA}.layer.v1.tar+gzip`)),
    }),
    `${MEDIA}.manifest.v1+json`,
  );
  const annotations = { 'org.opencontainers.image.ref.name': name };
  archive.file('index.json', json({ schemaVersion: 2, manifests: [{ ...manifest, annotations }] }));
  archive.file('oci-layout', json({ imageLayoutVersion: '1.0.0' }));
  await pipeline(archive.tar(), createWriteStream(path));
  return manifest.digest;
}
