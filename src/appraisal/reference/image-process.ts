import { pathText } from '../../container/path-text.ts';
import { LacreError } from '../../lacre-error.ts';
import { type FileNode, type ImageTree, toByteString } from './image-tree.ts';

const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * The regular file that an engine executes for the first word of entrypoint and command: searched in PATH, or below the
 * working directory, symlinks followed inside the root (/bin -> usr/bin, python3 -> python3.11). It is the path that the
 * kernel logs. A script stays itself: the kernel logs it, then its interpreter. Empty where the image names no program.
 *
 * Throws appraisal.entrypoint.unresolved.
 */
export function resolveEntrypoint(
  tree: ImageTree,
  words: readonly string[],
  environment: ReadonlyMap<string, string>,
  workingDir: string,
): string {
  const [program] = words;
  if (program === undefined || program === '') return '';
  for (const candidate of candidates(program, environment.get('PATH') ?? DEFAULT_PATH, workingDir)) {
    const found = tree.resolveFile(toByteString(candidate));
    if (found !== undefined && (found.file.mode & 0o111) !== 0) return pathText(Buffer.from(found.path, 'latin1'));
  }
  throw new LacreError(
    'appraisal.entrypoint.unresolved',
    `the entrypoint ${JSON.stringify(program)} is no executable file of the image`,
    { program },
  );
}

/**
 * The user of a configuration as numbers, "uid:gid", by the image's own /etc/passwd and /etc/group; as it stands where
 * a name is not in them. Without a user: "0:0". OCI image-spec, config.md.
 */
export function resolveUser(tree: ImageTree, user: string): string {
  const [name = '', group] = user.split(':', 2);
  const account = name === '' ? ['root', 'x', '0', '0'] : findRow(contentOf(tree, '/etc/passwd'), name);
  const uid = /^\d+$/.test(name) ? name : account?.[2];
  const gid =
    group === undefined || group === ''
      ? (account?.[3] ?? (uid === undefined ? undefined : '0'))
      : groupId(tree, group);
  return uid === undefined || gid === undefined ? user : `${Number(uid)}:${Number(gid)}`;
}

function* candidates(program: string, path: string, workingDir: string): Generator<string> {
  const base = workingDir === '' ? '/' : workingDir;
  if (program.startsWith('/')) yield program;
  else if (program.includes('/')) yield `${base}/${program}`;
  else
    for (const folder of path.split(':')) yield `${folder.startsWith('/') ? folder : `${base}/${folder}`}/${program}`;
}

function groupId(tree: ImageTree, group: string): string | undefined {
  return /^\d+$/.test(group) ? group : findRow(contentOf(tree, '/etc/group'), group)?.[2];
}

/** The row of a colon-separated table with this name, or with this number in its third column. */
function findRow(table: string, key: string): string[] | undefined {
  const rows = table.split('\n').map((line) => line.split(':'));
  const found = rows.find((row) => row[0] === key) ?? rows.find((row) => row[2] === key);
  return found !== undefined &&
    /^\d+$/.test(found[2] ?? '') &&
    found.slice(3, 4).every((gid) => /^\d*$/.test(gid) || found.length === 4)
    ? found
    : undefined;
}

function contentOf(tree: ImageTree, path: string): string {
  const content: FileNode['content'] = tree.resolveFile(path)?.file.content;
  return content === undefined ? '' : new TextDecoder().decode(content);
}
