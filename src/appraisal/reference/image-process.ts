import { pathText } from '../../container/path-text.ts';
import { LacreError } from '../../lacre-error.ts';
import { type ImageTree, toByteString } from './image-tree.ts';

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
  const [name = '', group = ''] = user.split(':');
  const account = accountOf(tree, name);
  const gid = group === '' ? account?.gid : groupId(tree, group);
  return account === undefined || gid === undefined ? user : `${account.uid}:${gid}`;
}

function* candidates(program: string, path: string, workingDir: string): Generator<string> {
  if (program.startsWith('/')) yield program;
  else if (program.includes('/')) yield `${workingDir}/${program}`;
  else
    for (const folder of path.split(':'))
      yield `${folder.startsWith('/') ? folder : `${workingDir}/${folder}`}/${program}`;
}

/** The row of a user's name or number; the group is 0 where none is told. */
function accountOf(tree: ImageTree, name: string): { uid: number; gid: number } | undefined {
  if (name === '') return { uid: 0, gid: 0 };
  const [, , uid, gid = ''] = findRow(contentOf(tree, '/etc/passwd'), name) ?? [];
  if (isNumber(name)) return { uid: Number(name), gid: isNumber(gid) ? Number(gid) : 0 };
  return isNumber(uid) && (gid === '' || isNumber(gid)) ? { uid: Number(uid), gid: Number(gid) } : undefined;
}

function groupId(tree: ImageTree, group: string): number | undefined {
  const id = isNumber(group) ? group : findRow(contentOf(tree, '/etc/group'), group)?.[2];
  return isNumber(id) ? Number(id) : undefined;
}

function isNumber(text: string | undefined): boolean {
  return /^\d+$/.test(String(text));
}

/** The row of a colon-separated table with this name, or with this number in its third column. */
function findRow(table: string, key: string): string[] | undefined {
  const rows = table.split('\n').map((line) => line.split(':'));
  return rows.find((row) => row[0] === key) ?? rows.find((row) => row[2] === key);
}

function contentOf(tree: ImageTree, path: string): string {
  return new TextDecoder().decode(tree.resolveFile(path)?.file.content);
}
