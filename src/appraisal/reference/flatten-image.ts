import { sha256Hex } from '../../bytes/sha256.ts';
import { pathText } from '../../container/path-text.ts';
import { applyLayer, type ImageBuild } from './apply-layer.ts';
import { FileTable } from './file-table.ts';
import { FLATTEN_LIMITS, type FlattenLimits, malformedImage, oversized } from './flatten-limits.ts';
import { type ImageConfig, type ImageManifest, parseImageConfig, parseImageManifest } from './image-documents.ts';
import { resolveEntrypoint, resolveUser } from './image-process.ts';
import { type ImageReference, pairs } from './image-reference.ts';
import { ImageTree } from './image-tree.ts';
import { type ByteBudget, openLayerTar, requireDigest } from './layer-stream.ts';
import { listSpelling } from './reference-path.ts';

/** One image: its documents as bytes, its layers as streams of their bytes as they travel. Where they lie is the caller's matter. */
export interface OciSource {
  readonly manifest: Uint8Array;
  readonly config: Uint8Array;
  /** Names to approve it under. */
  readonly names: readonly string[];
  openLayer(digest: string): AsyncIterable<Uint8Array>;
}

/**
 * Reference values of an OCI image: lays its layers upon each other and takes path, SHA-256 and mode of every regular
 * file. On return the files are proven to be those that the manifest names (its digest is that of the bytes given;
 * configuration, layers and their archives have the digests that it and the configuration say). Whether the image is a
 * good one is the approver's decision.
 *
 * Throws appraisal.image.*, appraisal.entrypoint.unresolved, and what a layer's stream throws. OCI image-spec 1.1.
 */
export async function flattenImage(source: OciSource, limits: FlattenLimits = FLATTEN_LIMITS): Promise<ImageReference> {
  const { manifest, config } = readDocuments(source, limits);
  const build: ImageBuild = { tree: new ImageTree(limits), limits, aliases: [], entries: 0 };
  const budget: ByteBudget = { plainBytes: 0 };
  for (const [index, { digest }] of manifest.layers.entries()) {
    const digests = { digest, diffId: String(config.rootfs.diff_ids[index]) };
    await applyLayer(build, index, openLayerTar(source.openLayer(digest), digests, limits, budget));
  }
  return describe(source, manifest, config, build);
}

function readDocuments(source: OciSource, limits: FlattenLimits): { manifest: ImageManifest; config: ImageConfig } {
  if (source.manifest.length > limits.documentBytes || source.config.length > limits.documentBytes) {
    throw oversized(`a document is larger than ${limits.documentBytes} bytes`);
  }
  const manifest = parseImageManifest(source.manifest);
  requireDigest(`sha256:${sha256Hex(source.config)}`, manifest.config.digest, 'configuration');
  const config = parseImageConfig(source.config);
  if (manifest.layers.length > limits.layers) throw oversized(`it has more than ${limits.layers} layers`);
  if (manifest.layers.length !== config.rootfs.diff_ids.length)
    throw malformedImage('manifest and configuration name different numbers of layers');
  return { manifest, config };
}

function describe(source: OciSource, manifest: ImageManifest, config: ImageConfig, build: ImageBuild): ImageReference {
  const process = config.config ?? { Entrypoint: [], Cmd: [], Env: [] };
  const environment = pairs(process.Env);
  const workingDir = process.WorkingDir ?? '';
  return {
    manifestDigest: `sha256:${sha256Hex(source.manifest)}`,
    configDigest: manifest.config.digest,
    names: source.names,
    entrypoint: process.Entrypoint,
    command: process.Cmd,
    environment,
    workingDir,
    user: resolveUser(build.tree, process.User ?? ''),
    labels: new Map(Object.entries(process.Labels ?? {})),
    entrypointPath: listSpelling(
      resolveEntrypoint(build.tree, [...process.Entrypoint, ...process.Cmd], environment, workingDir),
    ),
    files: FileTable.of(allFiles(build)),
  };
}

function* allFiles({ tree, aliases }: ImageBuild): Generator<{ path: string; sha256: Uint8Array; mode: number }> {
  for (const { path, file } of tree.files()) yield { path: textOf(path), sha256: file.sha256, mode: file.mode };
  for (const { path, file } of aliases) yield { path: textOf(path), sha256: file.sha256, mode: file.mode };
}

function textOf(path: string): string {
  return pathText(Buffer.from(path, 'latin1'));
}
