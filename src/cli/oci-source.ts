import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { z } from 'zod';
import { sha256Hex } from '../bytes/sha256.ts';
import { LacreError } from '../lacre-error.ts';
import { type TarEntry, tarEntries } from './tar-file.ts';

const DIGEST = z.string().regex(/^sha256:[0-9a-f]{64}$/);
const DESCRIPTOR = z.object({
  mediaType: z.string().max(256).optional(),
  digest: DIGEST,
  size: z.number().int().nonnegative(),
  platform: z.object({ os: z.string(), architecture: z.string() }).partial().optional(),
  annotations: z.record(z.string(), z.string()).optional(),
});
const INDEX = z.object({ manifests: z.array(DESCRIPTOR).max(1024) });
const MANIFEST = z.object({ config: DESCRIPTOR, layers: z.array(DESCRIPTOR).max(512) });

type Descriptor = z.infer<typeof DESCRIPTOR>;

/** Documents (index, manifest, configuration) larger than this are refused. */
const MAX_DOCUMENT_BYTES = 8 * 1024 * 1024;

/** One image of an OCI layout or archive: its documents as bytes, its layers as streams. */
export interface OciImage {
  readonly manifestDigest: string;
  readonly manifest: Uint8Array;
  readonly config: Uint8Array;
  /** Names that the archive itself gives the image. */
  readonly names: readonly string[];
  openLayer(digest: string): AsyncIterable<Uint8Array>;
}

export interface OciChoice {
  /** Name of the image in an archive of several. */
  readonly reference?: string;
  /** "linux/amd64" */
  readonly platform: string;
}

/**
 * Reads an image from an OCI layout folder or an OCI archive (tar), for as long as `use` runs. Documents are checked
 * against their digests; layers are for the reader to check. Throws cli.image.invalid, cli.image.ambiguous.
 */
export async function withOciImage<T>(
  path: string,
  choice: OciChoice,
  use: (image: OciImage) => Promise<T>,
): Promise<T> {
  const facts = await stat(path).catch((cause) => {
    throw new LacreError('cli.file.missing', `${path}: there is no such file or folder`, { path }, { cause });
  });
  if (facts.isDirectory()) return use(await openLayout(path, choice));
  const folder = await mkdtemp(join(tmpdir(), 'lacre-image-'));
  try {
    await unpack(path, folder);
    return await use(await openLayout(folder, choice));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function openLayout(folder: string, choice: OciChoice): Promise<OciImage> {
  const index = parse(INDEX, await readDocument(join(folder, 'index.json')), `${folder}/index.json`);
  const top = pick(index.manifests, choice.reference, folder);
  const names = top.annotations?.['org.opencontainers.image.ref.name'];
  const { bytes, digest } = await resolveManifest(folder, top, choice.platform);
  const manifest = parse(MANIFEST, bytes, digest);
  return {
    manifestDigest: digest,
    manifest: bytes,
    config: await readBlob(folder, manifest.config),
    names: names === undefined ? [] : [names],
    openLayer: (layer) => createReadStream(blobPath(folder, DIGEST.parse(layer))),
  };
}

async function resolveManifest(
  folder: string,
  descriptor: Descriptor,
  platform: string,
): Promise<{ bytes: Uint8Array; digest: string }> {
  const bytes = await readBlob(folder, descriptor);
  const inner = INDEX.safeParse(parse(z.unknown(), bytes, descriptor.digest));
  if (!inner.success) return { bytes, digest: descriptor.digest };
  const fitting = inner.data.manifests.filter((m) => `${m.platform?.os}/${m.platform?.architecture}` === platform);
  const [only] = fitting;
  if (!only || fitting.length > 1) {
    throw new LacreError(
      'cli.image.ambiguous',
      `${descriptor.digest} holds ${fitting.length} images for ${platform}; --platform chooses another one`,
    );
  }
  return { bytes: await readBlob(folder, only), digest: only.digest };
}

function pick(manifests: Descriptor[], reference: string | undefined, where: string): Descriptor {
  const nameOf = (m: Descriptor) => m.annotations?.['org.opencontainers.image.ref.name'];
  const fitting =
    reference === undefined ? manifests : manifests.filter((m) => nameOf(m) === reference || m.digest === reference);
  const [only] = fitting;
  if (only && fitting.length === 1) return only;
  const names = manifests.map((m) => nameOf(m) ?? m.digest).join(', ');
  throw new LacreError(
    'cli.image.ambiguous',
    `${where} holds ${manifests.length} images (${names}); --reference names the one to approve`,
  );
}

async function readBlob(folder: string, { digest, size }: Descriptor): Promise<Uint8Array> {
  const bytes = await readDocument(blobPath(folder, digest));
  if (bytes.length !== size || `sha256:${sha256Hex(bytes)}` !== digest) {
    throw new LacreError('cli.image.invalid', `the blob ${digest} is not what its name says`, { digest });
  }
  return bytes;
}

async function readDocument(path: string): Promise<Uint8Array> {
  const { size } = await stat(path).catch((cause) => {
    throw new LacreError('cli.image.invalid', `this is no OCI image: ${path} is absent`, { path }, { cause });
  });
  if (size > MAX_DOCUMENT_BYTES)
    throw new LacreError('cli.image.invalid', `${path} is larger than ${MAX_DOCUMENT_BYTES} bytes`, { size });
  return new Uint8Array(await readFile(path));
}

function parse<T>(schema: z.ZodType<T>, bytes: Uint8Array, what: string): T {
  try {
    return schema.parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)));
  } catch (cause) {
    throw new LacreError(
      'cli.image.invalid',
      `${what} is not what the OCI image specification asks for`,
      {},
      { cause },
    );
  }
}

function blobPath(folder: string, digest: string): string {
  return join(folder, 'blobs', 'sha256', digest.slice('sha256:'.length));
}

/** Takes index.json and the blobs out of an archive; every other name is passed over. */
async function unpack(archive: string, folder: string): Promise<void> {
  await mkdir(join(folder, 'blobs', 'sha256'), { recursive: true });
  const seen = new Set<string>();
  for await (const entry of tarEntries(archive)) {
    const name = entry.header.name.replace(/^\.\//, '');
    const wanted = name === 'index.json' || /^blobs\/sha256\/[0-9a-f]{64}$/.test(name);
    if (!wanted || entry.header.type !== 'file') entry.resume();
    else if (seen.has(name)) throw new LacreError('cli.image.invalid', `${archive} holds ${name} twice`);
    else await unpackFile(archive, entry, join(folder, name));
    if (wanted) seen.add(name);
  }
}

async function unpackFile(archive: string, entry: TarEntry, path: string): Promise<void> {
  try {
    await pipeline(entry, createWriteStream(path, { flags: 'wx', mode: 0o600 }));
  } catch (cause) {
    const { name } = entry.header;
    throw new LacreError('cli.file.invalid', `${name} of ${archive} cannot be unpacked`, { archive }, { cause });
  }
}
