import { createHash } from 'node:crypto';
import { type Extract, extract } from 'tar-stream';
import { LacreError } from '../../lacre-error.ts';
import { type FlattenLimits, malformedImage, oversized } from './flatten-limits.ts';
import { type FileNode, type ImageTree, toByteString } from './image-tree.ts';
import { pump, type Sink } from './pump.ts';

/** A file that engines show at another path as well: see `ImageBuild.aliases`. */
export interface Alias {
  readonly path: string;
  readonly file: FileNode;
}

/** An image on its way. */
export interface ImageBuild {
  readonly tree: ImageTree;
  readonly limits: FlattenLimits;
  /**
   * Names below a folder that a lower layer has as a symlink (`bin/x` over `bin -> usr/bin`). Engines that unpack on a
   * mount follow the symlink; engines that unpack each layer apart show a folder `bin`. So such a file has both paths.
   */
  readonly aliases: Alias[];
  entries: number;
}

interface TarHeader {
  readonly name: string;
  readonly type?: string | null | undefined;
  readonly linkname?: string | null | undefined;
  readonly mode?: number | undefined;
  readonly size?: number | undefined;
  readonly pax?: Record<string, string> | null;
}

type Entry = Extract extends AsyncIterable<infer Source> ? Source : never;

/** Names byte by byte: an option that the types of tar-stream leave out. */
const TAR_OPTIONS: object = { filenameEncoding: 'latin1' };
const WHITEOUT = '.wh.';
const OPAQUE = '.wh..wh..opq';
const KEPT_FILES = new Set(['etc/passwd', 'etc/group']);
const KEPT_BYTES = 1024 * 1024;

/**
 * Lays one layer's archive on the tree (OCI image-spec, layer.md). Whiteouts hide lower layers only, the last of equal
 * names wins. Nothing is proven before the archive has been read to its end (openLayerTar).
 *
 * Throws appraisal.image.malformed, appraisal.image.path, appraisal.image.oversized, and what the archive throws.
 */
export async function applyLayer(build: ImageBuild, layer: number, archive: AsyncIterable<Uint8Array>): Promise<void> {
  const tar = extract(TAR_OPTIONS);
  const feeding = pump(archive, tar as unknown as Sink);
  try {
    for await (const entry of tar) {
      if (++build.entries > build.limits.entries) throw oversized(`it has more than ${build.limits.entries} names`);
      await applyEntry(build, layer, entry);
      entry.resume();
    }
  } catch (cause) {
    if (cause instanceof LacreError) throw cause;
    throw malformedImage('a layer is no tar archive, or is damaged', cause);
  } finally {
    await feeding; // a loop that ends early has destroyed the archive, which ends it
  }
}

async function applyEntry(build: ImageBuild, layer: number, entry: Entry): Promise<void> {
  const header = entry.header as TarHeader;
  // tar-stream waits for ever for an entry whose size is neither octal nor binary: it must be refused before it is read.
  const { size } = header;
  if (size === undefined || !Number.isSafeInteger(size) || size < 0) throw malformedImage('an entry has no size');
  if (Object.keys(header.pax ?? {}).some((key) => key.startsWith('GNU.sparse')))
    throw malformedImage('sparse files are not supported');
  const parts = partsOf(byteName(header.name, header.pax?.['path']), build.limits);
  const name = parts.at(-1) ?? '';
  if (parts.slice(0, -1).some((part) => part.startsWith(WHITEOUT)))
    throw malformedImage('a folder is named as a whiteout');
  if (name.startsWith(WHITEOUT)) return applyWhiteout(build, layer, parts.slice(0, -1), name);
  if (header.type === 'directory') {
    build.tree.putDirectory(parts, layer);
    return;
  }
  if (header.type === 'file' || header.type === 'contiguous-file') {
    const file = await readFileNode(entry, header, layer, KEPT_FILES.has(parts.join('/')) && size <= KEPT_BYTES);
    return putNode(build, parts, file);
  }
  if (size !== 0) throw malformedImage(`${JSON.stringify(name)} is no file, but has ${size} bytes`);
  putNode(build, parts, otherNode(build, header, layer));
}

function otherNode(build: ImageBuild, header: TarHeader, layer: number): Parameters<ImageTree['put']>[1] {
  switch (header.type) {
    case 'symlink':
      return { kind: 'symlink', layer, target: linkText(header, build.limits) };
    case 'link':
      return { ...build.tree.linkTarget(partsOf(linkText(header, build.limits), build.limits)), layer };
    case 'character-device':
    case 'block-device':
    case 'fifo':
      return { kind: 'other', layer };
    default:
      throw malformedImage('an archive holds an entry of an unknown type');
  }
}

function putNode(build: ImageBuild, parts: readonly string[], node: Parameters<ImageTree['put']>[1]): void {
  const { throughLower } = build.tree.put(parts, node);
  if (throughLower && node.kind === 'file') build.aliases.push({ path: `/${parts.join('/')}`, file: node });
}

function applyWhiteout(build: ImageBuild, layer: number, folder: readonly string[], name: string): void {
  if (name === OPAQUE) {
    build.tree.opaque(folder, layer);
    return;
  }
  // What aufs leaves (.wh..wh.aufs, .wh..wh.plnk, .wh..wh.orph) hides names that nothing has.
  const hidden = name.slice(WHITEOUT.length);
  if (hidden === '' || hidden === '.' || hidden === '..')
    throw malformedImage(`${JSON.stringify(name)} hides nothing that can be named`);
  build.tree.whiteout([...folder, hidden], layer);
}

async function readFileNode(entry: Entry, header: TarHeader, layer: number, keep: boolean): Promise<FileNode> {
  const hash = createHash('sha256');
  const kept: Uint8Array[] | undefined = keep ? [] : undefined;
  for await (const chunk of entry as AsyncIterable<Uint8Array>) {
    hash.update(chunk);
    kept?.push(chunk);
  }
  const content = kept && new Uint8Array(Buffer.concat(kept));
  return { kind: 'file', layer, sha256: new Uint8Array(hash.digest()), mode: Number(header.mode) & 0o7777, content };
}

function linkText(header: TarHeader, limits: FlattenLimits): string {
  const target = byteName(header.linkname ?? '', header.pax?.['linkpath']);
  if (target === '' || target.length >= limits.pathBytes)
    throw new LacreError('appraisal.image.path', 'a link leads to no path');
  return target;
}

/** A name as a byte string. tar-stream decodes a pax name as UTF-8 and, as asked, any other byte by byte. */
function byteName(name: string, paxName: string | undefined): string {
  if (paxName === undefined || paxName === '') return name;
  if (paxName.includes('\ufffd')) throw new LacreError('appraisal.image.path', 'a pax name is not UTF-8');
  return toByteString(paxName);
}

/** Parts of a name in an archive, relative to the root. Throws appraisal.image.path for one with "..", NUL or too long. */
function partsOf(name: string, limits: FlattenLimits): string[] {
  if (name.length >= limits.pathBytes || name.includes('\0')) {
    throw new LacreError('appraisal.image.path', `a name has more than ${limits.pathBytes} bytes, or a zero in it`);
  }
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..'))
    throw new LacreError('appraisal.image.path', `${JSON.stringify(name)} leaves the folder it is in`, { name });
  return parts;
}
