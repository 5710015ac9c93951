import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { FileTree } from '../image/file-tree.ts';
import { type Layer, makeLayer, writeOciArchive } from '../image/oci-archive.ts';
import { sharedLibraries } from '../image/shared-libraries.ts';

const SOURCES = join(import.meta.dirname, '../../../deploy/lab/reads');

interface Interpreted {
  /** Its first program is executed; what that reads of these words is not. */
  readonly entrypoint: readonly [string, ...string[]];
  /** Programs of the suite, by the name under which the image has them. */
  readonly programs: readonly string[];
  /** What the interpreter reads of its own. */
  readonly library: RegExp;
  /** Path in the image to the file below deploy/lab/reads. */
  readonly files: Readonly<Record<string, string>>;
}

/** Services whose program is an interpreter: what they do is in files that are only read. */
export const INTERPRETED = {
  python: {
    entrypoint: ['/usr/bin/python3', '/srv/main.py'],
    programs: ['usr/bin/python3'],
    library: /^(usr\/lib|etc)\/python3/,
    files: { '/srv/main.py': 'main.py', '/srv/job.py': 'job.py' },
  },
  node: {
    entrypoint: ['/usr/bin/node', '/srv/app.js'],
    programs: ['usr/bin/node'],
    library:
      /^usr\/share\/nodejs\/(acorn|acorn-walk|cjs-module-lexer|undici|minimatch|balanced-match|brace-expansion)(\/|$)/,
    files: { '/srv/app.js': 'app.cjs', '/srv/job.js': 'job.cjs' },
  },
  shell: {
    entrypoint: ['/usr/bin/dash', '/srv/main.sh'],
    programs: ['usr/bin/dash', 'usr/bin/date', 'usr/bin/sleep'],
    library: /^$/,
    files: { '/srv/main.sh': 'main.sh', '/srv/job.sh': 'job.sh' },
  },
} as const satisfies Readonly<Record<string, Interpreted>>;

export type Language = keyof typeof INTERPRETED;
export const LANGUAGES = Object.keys(INTERPRETED) as Language[];

export const SETTINGS_PATH = '/etc/service.conf';
const SETTINGS = 'service.conf';

export function imageName(language: Language): string {
  return `localhost/reads-${language}:1`;
}

/** What the image holds at a path that the service reads. */
export async function approvedFile(language: Language, path: string): Promise<Buffer> {
  const files: Readonly<Record<string, string>> = { ...INTERPRETED[language].files, [SETTINGS_PATH]: SETTINGS };
  return readFile(join(SOURCES, files[path] ?? ''));
}

/** @param base layer with curl and its libraries. @param follow deploy/lab/reads/svid-follow.c, compiled. */
export async function makeInterpretedImage(
  language: Language,
  { suite, base, follow }: { suite: FileTree; base: Layer; follow: Uint8Array },
  path: string,
): Promise<string> {
  const { entrypoint, programs, library, files }: Interpreted = INTERPRETED[language];
  const interpreter = new FileTree();
  for (const program of programs) copyProgram(suite, interpreter, program);
  for (const name of suite.paths().filter((candidate) => library.test(candidate)))
    interpreter.add(name, suite.get(name));
  const service = new FileTree().file('bin/svid-follow', follow, 0o755);
  for (const name of [...Object.keys(files), SETTINGS_PATH])
    service.file(name.slice(1), await approvedFile(language, name));
  const layers = [base, await makeLayer(interpreter), await makeLayer(service)];
  return writeOciArchive(path, imageName(language), layers, {
    Entrypoint: entrypoint,
    Env: ['PATH=/bin:/usr/bin'],
    WorkingDir: '/',
    Labels: { 'org.opencontainers.image.title': language },
  });
}

/** A program under its name, the file that the name leads to, and its libraries. */
function copyProgram(suite: FileTree, tree: FileTree, program: string): void {
  const { path: file, bytes } = suite.resolve(program);
  tree.file(file, bytes, 0o755);
  if (file !== program) tree.link(program, `/${file}`);
  for (const library of sharedLibraries(suite, bytes)) {
    const found = suite.resolve(library);
    tree.file(`usr/lib/x86_64-linux-gnu/${library.replace(/^.*\//, '')}`, found.bytes, 0o755);
  }
}
