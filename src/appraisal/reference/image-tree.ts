import { LacreError } from '../../lacre-error.ts';
import { type FlattenLimits, malformedImage, oversized } from './flatten-limits.ts';

/** A regular file of the tree. */
export interface FileNode {
  readonly kind: 'file';
  readonly layer: number;
  /** 32 bytes */
  readonly sha256: Uint8Array;
  readonly mode: number;
  /** Its bytes, where the reader kept them. */
  readonly content: Uint8Array | undefined;
}

interface SymlinkNode {
  readonly kind: 'symlink';
  readonly layer: number;
  readonly target: string;
}

/** A device, a fifo: in the way of other names, but nothing to execute. */
interface OtherNode {
  readonly kind: 'other';
  readonly layer: number;
}

export interface DirectoryNode {
  readonly kind: 'directory';
  readonly name: string;
  readonly parent: DirectoryNode | undefined;
  readonly depth: number;
  readonly children: Map<string, TreeNode>;
}

export type LeafNode = FileNode | SymlinkNode | OtherNode;
export type TreeNode = LeafNode | DirectoryNode;

/** Where a path leads: the folder that holds the name, and whether a symlink of a lower layer was followed on the way. */
interface Place {
  readonly folder: DirectoryNode;
  readonly throughLower: boolean;
}

const MAX_SYMLINKS = 40; // Linux: MAXSYMLINKS

/**
 * The root file system of an image while layers are laid upon each other (OCI image-spec, layer.md). Every path is
 * resolved inside: a symlink, absolute or with "..", never leads out of the root. Names are byte strings (one character
 * a byte, "latin1"), so that no two of them become one.
 */
export class ImageTree {
  readonly root: DirectoryNode = directory('', undefined);
  readonly #limits: FlattenLimits;

  constructor(limits: FlattenLimits) {
    this.#limits = limits;
  }

  /** Puts a node at a path of plain parts; replaces what is there. Folders on the way are made. */
  put(parts: readonly string[], node: LeafNode): { throughLower: boolean } {
    const { folder, throughLower } = this.#place(parts, node.layer);
    folder.children.set(lastOf(parts), node);
    return { throughLower };
  }

  /** A folder: keeps one that is there with what it holds, replaces anything else. */
  putDirectory(parts: readonly string[], layer: number): DirectoryNode {
    if (parts.length === 0) return this.root;
    const { folder } = this.#place(parts, layer);
    const present = folder.children.get(lastOf(parts));
    return present?.kind === 'directory' ? present : this.#makeDirectory(folder, lastOf(parts));
  }

  /** The node that a hard link names: not a folder, its last part not followed. */
  linkTarget(parts: readonly string[]): LeafNode {
    const folder = this.#walk(parts.slice(0, -1), undefined)?.folder;
    const node = folder?.children.get(lastOf(parts));
    if (node === undefined || node.kind === 'directory') {
      throw malformedImage(`a hard link to ${JSON.stringify(parts.join('/'))}, which is no file before it`);
    }
    return node;
  }

  /** Hides what lower layers have at a path (whiteout). */
  whiteout(parts: readonly string[], layer: number): void {
    const folder = this.#walk(parts.slice(0, -1), undefined)?.folder;
    if (folder !== undefined) prune(folder, lastOf(parts), layer);
  }

  /** Hides all that lower layers have in a folder (opaque whiteout). */
  opaque(parts: readonly string[], layer: number): void {
    const folder = this.putDirectory(parts, layer);
    for (const name of folder.children.keys()) prune(folder, name, layer);
  }

  /** The regular file that a path leads to, symlinks followed, with its real path; undefined where there is none. */
  resolveFile(path: string): { path: string; file: FileNode } | undefined {
    let pending = path;
    for (let hops = 0; hops <= MAX_SYMLINKS; hops++) {
      const parts = pending.split('/');
      const name = lastOf(parts); // "", "." and ".." are no names of a file
      const folder = this.#walk(parts.slice(0, -1), undefined)?.folder;
      if (folder === undefined) return undefined;
      const node = folder.children.get(name);
      if (node?.kind === 'file') return { path: `${pathOf(folder)}/${name}`, file: node };
      if (node?.kind !== 'symlink') return undefined;
      pending = node.target.startsWith('/') ? node.target : `${pathOf(folder)}/${node.target}`;
    }
    return undefined;
  }

  /** Every regular file with its absolute path. Throws appraisal.image.oversized where a path is too long. */
  *files(): Generator<{ path: string; file: FileNode }> {
    const folders: Array<{ folder: DirectoryNode; path: string }> = [{ folder: this.root, path: '' }];
    for (let next = folders.pop(); next !== undefined; next = folders.pop()) {
      for (const [name, node] of next.folder.children) {
        const path = `${next.path}/${name}`;
        if (path.length >= this.#limits.pathBytes)
          throw oversized(`a path is longer than ${this.#limits.pathBytes} bytes`);
        if (node.kind === 'directory') folders.push({ folder: node, path });
        else if (node.kind === 'file') yield { path, file: node };
      }
    }
  }

  #place(parts: readonly string[], layer: number): Place {
    const place = this.#walk(parts.slice(0, -1), layer);
    if (place === undefined)
      throw malformedImage(`${JSON.stringify(parts.join('/'))} lies below something that is no folder`);
    return place;
  }

  /** Follows parts from the root; missing folders are made for `layer`, or end the walk where it is undefined. */
  #walk(parts: readonly string[], layer: number | undefined): Place | undefined {
    const pending = [...parts].reverse();
    let folder = this.root;
    let throughLower = false;
    let hops = 0;
    for (let part = pending.pop(); part !== undefined; part = pending.pop()) {
      if (part === '' || part === '.') continue;
      if (part === '..') {
        folder = folder.parent ?? folder;
        continue;
      }
      const node = folder.children.get(part);
      if (node === undefined) {
        if (layer === undefined) return undefined;
        folder = this.#makeDirectory(folder, part);
      } else if (node.kind === 'directory') folder = node;
      else if (node.kind === 'symlink') {
        if (++hops > MAX_SYMLINKS)
          throw new LacreError(
            'appraisal.image.path',
            `${JSON.stringify(parts.join('/'))} leads through more than ${MAX_SYMLINKS} symlinks`,
          );
        throughLower ||= layer !== undefined && node.layer < layer;
        if (node.target.startsWith('/')) folder = this.root;
        pending.push(...node.target.split('/').reverse());
      } else return undefined;
    }
    return { folder, throughLower };
  }

  #makeDirectory(parent: DirectoryNode, name: string): DirectoryNode {
    if (parent.depth >= this.#limits.depth) throw oversized(`folders lie more than ${this.#limits.depth} deep`);
    const made = directory(name, parent);
    parent.children.set(name, made);
    return made;
  }
}

/** UTF-8 of a text as a byte string. */
export function toByteString(text: string): string {
  return Buffer.from(text).toString('latin1');
}

function directory(name: string, parent: DirectoryNode | undefined): DirectoryNode {
  return { kind: 'directory', name, parent, depth: (parent?.depth ?? 0) + 1, children: new Map() };
}

function pathOf(folder: DirectoryNode): string {
  const names: string[] = [];
  for (let at = folder; at.parent !== undefined; at = at.parent) names.push(at.name);
  return names.length === 0 ? '' : `/${names.reverse().join('/')}`;
}

/** Removes what is of layers below `layer`. Folders stay: an empty one shows no file. */
function prune(folder: DirectoryNode, name: string, layer: number): void {
  const node = folder.children.get(name);
  if (node === undefined) return;
  if (node.kind === 'directory') for (const child of node.children.keys()) prune(node, child, layer);
  else if (node.layer < layer) folder.children.delete(name);
}

function lastOf(parts: readonly string[]): string {
  const last = parts.at(-1);
  if (last === undefined) throw malformedImage('a name is the root itself');
  return last;
}
