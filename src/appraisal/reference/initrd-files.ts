import { sha256 } from '../../bytes/sha256.ts';
import { pathText } from '../../container/path-text.ts';
import { LacreError } from '../../lacre-error.ts';
import { type CpioEntry, readInitrd } from './cpio.ts';
import { FileTable, type ReferenceFile } from './file-table.ts';
import { FLATTEN_LIMITS } from './flatten-limits.ts';
import { ImageTree } from './image-tree.ts';

/** What an initrd puts into memory. */
export interface InitrdContents {
  /** Path and SHA-256 of every regular file. */
  readonly files: FileTable;
  /** Bytes of /policy, the IMA policy that the initrd's first program loads; undefined: it has none. */
  readonly policy: Uint8Array | undefined;
}

const TYPE = 0o170000;
const REGULAR = 0o100000;
const DIRECTORY = 0o040000;
const SYMLINK = 0o120000;
/** An initrd is one: later names replace earlier ones, and nothing hides what lies below. */
const LAYER = 0;

/**
 * The files of an initrd: newc cpio archives, several after each other, uncompressed, gzip or zstd. Later names replace
 * earlier ones, names of one file share its content, symlinked folders are followed, as the kernel does. Of an initrd
 * whose SHA-256 the boot has measured, this is what it held; that its programs do what they should is the approver's
 * decision.
 *
 * Throws appraisal.initrd.malformed, appraisal.initrd.oversized, appraisal.image.oversized for folders too deep.
 */
export function hostFilesFromInitrd(initrd: Uint8Array): InitrdContents {
  const tree = new ImageTree(FLATTEN_LIMITS);
  const links = contentOfLinks(initrd);
  for (const entry of readInitrd(initrd)) putEntry(tree, entry, links);
  const policy = tree.resolveFile('/policy')?.file.content;
  return { files: FileTable.of(filesOf(tree)), policy: policy === undefined ? undefined : new Uint8Array(policy) };
}

/** Of several names of one file only one carries the bytes, as a rule the last. */
function contentOfLinks(initrd: Uint8Array): Map<CpioEntry['link'], Uint8Array> {
  const links = new Map<CpioEntry['link'], Uint8Array>();
  for (const { link, data } of readInitrd(initrd)) if (link !== undefined && data.length > 0) links.set(link, data);
  return links;
}

function putEntry(tree: ImageTree, entry: CpioEntry, links: ReadonlyMap<CpioEntry['link'], Uint8Array>): void {
  const parts = entry.name.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..'))
    throw new LacreError('appraisal.initrd.malformed', `${JSON.stringify(entry.name)} leaves the folder it is in`);
  if (parts.length === 0) return;
  const data = links.get(entry.link) ?? entry.data;
  switch (entry.mode & TYPE) {
    case DIRECTORY:
      tree.putDirectory(parts, LAYER);
      return;
    case REGULAR:
      tree.put(parts, { kind: 'file', layer: LAYER, sha256: sha256(data), mode: entry.mode & 0o7777, content: data });
      return;
    case SYMLINK:
      tree.put(parts, { kind: 'symlink', layer: LAYER, target: Buffer.from(data).toString('latin1') });
      return;
    default:
      tree.put(parts, { kind: 'other', layer: LAYER });
  }
}

function* filesOf(tree: ImageTree): Generator<ReferenceFile> {
  for (const { path, file } of tree.files()) {
    yield { path: pathText(Buffer.from(path, 'latin1')), sha256: file.sha256, mode: file.mode };
  }
}
