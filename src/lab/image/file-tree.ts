import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { extract, type Header, pack } from 'tar-stream';
import { sha256Hex } from '../../bytes/sha256.ts';
import { LacreError } from '../../lacre-error.ts';

/** A file, folder or symbolic link of a root that is being put together; owner root unless said. */
export interface TreeEntry {
  readonly mode: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly content: { file: Uint8Array } | { link: string } | 'folder';
}

/**
 * A root file system in memory, by path without a leading slash. Written in the order of the paths and with time 0, so
 * the same tree gives the same bytes.
 */
export class FileTree {
  readonly #entries = new Map<string, TreeEntry>();

  /** Reads a tar file; `keep` chooses by path. Device nodes are left out, hard links become files. */
  static async fromTar(path: string, keep: (path: string) => boolean): Promise<FileTree> {
    const tree = new FileTree();
    const tar = extract();
    const reading = pipeline(createReadStream(path), tar).catch((error: unknown) => error);
    for await (const entry of tar) {
      const name = cleanPath(entry.header.name);
      if (name === '' || !keep(name)) {
        entry.resume();
        continue;
      }
      const chunks: Buffer[] = [];
      for await (const chunk of entry) chunks.push(Buffer.from(chunk as Uint8Array));
      tree.#take(name, entry.header, Buffer.concat(chunks));
    }
    const error = await reading;
    if (error)
      throw new LacreError('lab.build.archive', `${path} can't be read as a tar file`, { path }, { cause: error });
    return tree;
  }

  #take(name: string, header: Header, bytes: Buffer): void {
    const owner = { mode: (header.mode ?? 0o644) & 0o7777, uid: header.uid ?? 0, gid: header.gid ?? 0 };
    if (header.type === 'file') this.#entries.set(name, { ...owner, content: { file: bytes } });
    else if (header.type === 'directory') this.#entries.set(name, { ...owner, content: 'folder' });
    else if (header.type === 'symlink') this.#entries.set(name, { ...owner, content: { link: header.linkname ?? '' } });
    else if (header.type === 'link') this.#entries.set(name, this.#entry(cleanPath(header.linkname ?? '')));
  }

  #entry(path: string): TreeEntry {
    const entry = this.#entries.get(path);
    if (!entry) throw new LacreError('lab.build.archive', `the root has no ${path}`, { path });
    return entry;
  }

  file(path: string, file: Uint8Array | string, mode = 0o644): this {
    return this.add(path, { mode, content: { file: typeof file === 'string' ? Buffer.from(file) : file } });
  }

  folder(path: string, mode = 0o755): this {
    return this.add(path, { mode, content: 'folder' });
  }

  link(path: string, target: string): this {
    return this.add(path, { mode: 0o777, content: { link: target } });
  }

  /** Adds an entry, and folders above it that aren't there yet. */
  add(path: string, entry: TreeEntry): this {
    const parts = path.split('/');
    for (let depth = 1; depth < parts.length; depth++) {
      const above = parts.slice(0, depth).join('/');
      if (!this.#entries.has(above)) this.#entries.set(above, { mode: 0o755, content: 'folder' });
    }
    this.#entries.set(path, entry);
    return this;
  }

  paths(): string[] {
    return [...this.#entries.keys()].sort((a, b) => (a < b ? -1 : 1));
  }

  has(path: string): boolean {
    return this.#entries.has(path);
  }

  get(path: string): TreeEntry {
    return this.#entry(path);
  }

  /** Content of a regular file, through symbolic links; with the path where it really is. */
  resolve(path: string, hops = 16): { path: string; bytes: Uint8Array } {
    const parts = path.split('/');
    for (let depth = 1; depth <= parts.length; depth++) {
      const at = parts.slice(0, depth).join('/');
      const entry = this.#entries.get(at);
      if (!entry || typeof entry.content === 'string') continue;
      if ('file' in entry.content) return { path: at, bytes: entry.content.file };
      if (hops === 0) break;
      const { link } = entry.content;
      const base = link.startsWith('/') ? [] : parts.slice(0, depth - 1);
      return this.resolve(normalise([...base, ...link.split('/'), ...parts.slice(depth)]), hops - 1);
    }
    throw new LacreError('lab.build.archive', `the root has no file ${path}`, { path });
  }

  /** A digest of the whole tree: paths, modes, owners, contents. */
  digest(): string {
    const lines = this.paths().map((path) => {
      const { mode, uid = 0, gid = 0, content } = this.#entry(path);
      const what =
        content === 'folder' ? 'folder' : 'link' in content ? `link ${content.link}` : sha256Hex(content.file);
      return JSON.stringify([path, mode, uid, gid, what]);
    });
    return sha256Hex(Buffer.from(lines.join('\n')));
  }

  /** The tree as a tar stream. */
  async *tar(): AsyncGenerator<Uint8Array> {
    const tar = pack();
    const writing = this.#write(tar).catch((error: Error) => tar.destroy(error));
    for await (const chunk of tar) yield Buffer.from(chunk as Uint8Array);
    await writing;
  }

  async #write(tar: ReturnType<typeof pack>): Promise<void> {
    for (const path of this.paths()) {
      const { mode, uid = 0, gid = 0, content } = this.#entry(path);
      const header = { name: path, mode, uid, gid, mtime: new Date(0) };
      await new Promise<void>((resolve, reject) => {
        const done = (error?: Error | null) => (error ? reject(error) : resolve());
        if (content === 'folder') tar.entry({ ...header, name: `${path}/`, type: 'directory' }, done);
        else if ('link' in content) tar.entry({ ...header, type: 'symlink', linkname: content.link }, done);
        else tar.entry({ ...header, type: 'file', size: content.file.length }, Buffer.from(content.file), done);
      });
    }
    tar.finalize();
  }
}

function cleanPath(name: string): string {
  return name
    .replace(/^(\.?\/)+/, '')
    .replace(/\/+$/, '')
    .replace(/^\.$/, '');
}

function normalise(parts: readonly string[]): string {
  const kept: string[] = [];
  for (const part of parts) {
    if (part === '..') kept.pop();
    else if (part !== '' && part !== '.') kept.push(part);
  }
  return kept.join('/');
}
