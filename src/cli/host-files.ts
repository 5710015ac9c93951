import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { opendir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { ReferenceFile } from '../appraisal/reference/file-table.ts';
import { pathText } from '../container/path-text.ts';
import { LacreError } from '../lacre-error.ts';
import { tarEntries } from './tar-file.ts';

/**
 * Path, SHA-256 and mode of every regular file of a host's root: a folder, or the tar file that the root was made from
 * (hard links count as files). Other file systems mounted below the folder are not entered. Throws cli.file.missing,
 * cli.file.invalid.
 */
export async function* hostFiles(root: string): AsyncGenerator<ReferenceFile> {
  const facts = await stat(root).catch((cause) => {
    throw new LacreError('cli.file.missing', `${root}: there is no such file or folder`, { root }, { cause });
  });
  yield* facts.isDirectory() ? folderFiles(root, '', facts.dev) : tarFiles(root);
}

async function* folderFiles(root: string, below: string, device: number): AsyncGenerator<ReferenceFile> {
  for await (const entry of await opendir(join(root, below))) {
    const path = `${below}/${entry.name}`;
    const full = join(root, path);
    if (entry.isDirectory()) {
      if ((await stat(full)).dev === device) yield* folderFiles(root, path, device);
    } else if (entry.isFile()) {
      yield {
        path: pathText(Buffer.from(path)),
        sha256: await digestOf(createReadStream(full)),
        mode: (await stat(full)).mode & 0o7777,
      };
    }
  }
}

async function* tarFiles(archive: string): AsyncGenerator<ReferenceFile> {
  const digests = new Map<string, Uint8Array>();
  for await (const entry of tarEntries(archive)) {
    const { name, type, linkname, mode } = entry.header;
    const path = absolute(name);
    if (type === 'file' || type === 'contiguous-file') digests.set(path, await digestOf(entry));
    else entry.resume();
    const sha256 = type === 'link' ? digests.get(absolute(linkname ?? '')) : digests.get(path);
    if (type === 'link' && sha256) digests.set(path, sha256);
    if (sha256 && type !== 'directory' && type !== 'symlink') yield { path, sha256, mode: (mode ?? 0o644) & 0o7777 };
  }
}

function absolute(name: string): string {
  return pathText(Buffer.from(`/${name.replace(/^(\.?\/)+/, '')}`));
}

async function digestOf(content: AsyncIterable<unknown>): Promise<Uint8Array> {
  const hash = createHash('sha256');
  for await (const chunk of content) hash.update(chunk as Uint8Array);
  return new Uint8Array(hash.digest());
}
