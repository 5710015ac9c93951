// Builds the Go programs of the interop tests, once for each content of their module: `node scripts/build-spire.mjs
// spire-server` or `spire-agent` (SPIRE's own, unmodified) or `firstsvid` (a go-spiffe client). Prints the program's path. Cached below
// $XDG_CACHE_HOME or ~/.cache. Exit status 5: there is no Go.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const PROGRAMS = {
  'spire-server': { folder: 'spire', target: 'github.com/spiffe/spire/cmd/spire-server' },
  'spire-agent': { folder: 'spire', target: 'github.com/spiffe/spire/cmd/spire-agent' },
  firstsvid: { folder: 'firstsvid', target: '.' },
};

const say = (text) => process.stderr.write(`${text}\n`);

function fail(text, status = 1) {
  say(`build-spire: ${text}`);
  process.exit(status);
}

/** Every file of a folder, with its path in it, in order. */
function* files(folder, below = '') {
  const entries = readdirSync(join(folder, below), { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const entry of entries) {
    const path = join(below, entry.name);
    if (entry.isDirectory()) yield* files(folder, path);
    else if (entry.isFile()) yield path;
  }
}

function inputsHash(folder, goVersion) {
  const hash = createHash('sha256').update(goVersion);
  for (const path of files(folder)) hash.update(`\0${path}\0`).update(readFileSync(join(folder, path)));
  return hash.digest('hex').slice(0, 32);
}

function goVersion() {
  const { status, stdout, error } = spawnSync('go', ['version'], { encoding: 'utf8' });
  if (error || status !== 0) fail('there is no Go on this machine', 5);
  return stdout.trim();
}

function build(name) {
  const program = PROGRAMS[name];
  if (program === undefined) fail(`usage: build-spire.mjs ${Object.keys(PROGRAMS).join('|')}`, 2);
  const source = join(root, 'test', 'interop', program.folder);
  const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'lacre', 'interop');
  const target = join(cache, inputsHash(source, goVersion()));
  const path = join(target, name);
  if (existsSync(path)) return path;
  mkdirSync(cache, { recursive: true });
  const work = mkdtempSync(join(cache, 'build-'));
  try {
    cpSync(source, work, { recursive: true });
    say(`building ${name}; the first time this takes minutes`);
    const options = ['build', '-mod=mod', '-buildvcs=false', '-o', join(work, 'out', name), program.target];
    const { status, error } = spawnSync('go', options, { cwd: work, stdio: ['ignore', 2, 2] });
    if (error || status !== 0) fail(`go build failed${error ? `: ${error.message}` : ''}; see its messages above`);
    mkdirSync(target, { recursive: true });
    renameSync(join(work, 'out', name), path);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return path;
}

process.stdout.write(`${build(process.argv[2])}\n`);
