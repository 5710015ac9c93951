/**
 * Writes, or with --check compares, every file that is made from another one: protobuf code, pages of
 * docs that list what the code has (scripts/pages.ts), JSON Schemas of the configuration files.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { generatedPages } from './pages.ts';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const check = process.argv.includes('--check');

function run(command: string, args: string[]): void {
  const env = { ...process.env, PATH: `${join(root, 'node_modules/.bin')}:${process.env['PATH']}` };
  const { status, stderr } = spawnSync(command, args, { cwd: root, encoding: 'utf8', env });
  if (status !== 0) {
    process.stderr.write(`${command} ${args.join(' ')} failed:\n${stderr}\n`);
    process.exit(1);
  }
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .sort();
}

/** Paths, below two folders, that are not the same in both. */
function differences(made: string, committed: string): string[] {
  const names = new Set([...filesBelow(made), ...filesBelow(committed)]);
  return [...names].filter((name) => {
    const [a, b] = [join(made, name), join(committed, name)];
    return !existsSync(a) || !existsSync(b) || !readFileSync(a).equals(readFileSync(b));
  });
}

function protobuf(): string[] {
  const buf = join(root, 'node_modules/.bin/buf');
  if (!check) {
    run(buf, ['generate']);
    return [];
  }
  const folder = mkdtempSync(join(tmpdir(), 'lacre-generate-'));
  try {
    run(buf, ['generate', '--output', folder]);
    return differences(join(folder, 'src/proto'), join(root, 'src/proto')).map((name) => `src/proto/${name}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function pages(): string[] {
  const old = [...generatedPages()].filter(([path, content]) => {
    const full = join(root, path);
    return !existsSync(full) || readFileSync(full, 'utf8') !== content;
  });
  if (!check) for (const [path, content] of old) writeFileSync(join(root, path), content);
  return check ? old.map(([path]) => path) : [];
}

const stale = [...protobuf(), ...pages()];
if (stale.length > 0) {
  process.stderr.write(`not current: ${stale.join(', ')}; run npm run generate\n`);
  process.exit(1);
}
