// Builds the Go programs of the interop tests and of the lab, once for each content of their module: `node
// scripts/build-spire.mjs spire-server` or `spire-agent` (SPIRE's own, unmodified), `firstsvid` (a go-spiffe client) or
// `spiffe-service` (the lab's service, which needs no library). Prints the program's path. Cached below $XDG_CACHE_HOME
// or ~/.cache. Exit status 5: there is no Go.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
/**
 * Go modules, and what each `go build` is told: it makes all programs of a module at once, as they share most of their
 * packages. A client without libc runs in containers that hold nothing else.
 */
const MODULES = {
  spire: {
    folder: 'test/interop/spire',
    targets: ['github.com/spiffe/spire/cmd/spire-server', 'github.com/spiffe/spire/cmd/spire-agent'],
  },
  firstsvid: { folder: 'test/interop/firstsvid', targets: ['.'], environment: { CGO_ENABLED: '0' } },
  'spiffe-service': {
    folder: 'deploy/lab/spiffe-service',
    targets: ['-trimpath', '-ldflags=-s -w', '.'],
    environment: { CGO_ENABLED: '0' },
  },
};
const PROGRAMS = {
  'spire-server': 'spire',
  'spire-agent': 'spire',
  firstsvid: 'firstsvid',
  'spiffe-service': 'spiffe-service',
};
const LOCKED = 'LACRE_BUILD_LOCKED';

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
  const module = PROGRAMS[name];
  if (module === undefined) fail(`usage: build-spire.mjs ${Object.keys(PROGRAMS).join('|')}`, 2);
  const { folder, targets, environment } = MODULES[module];
  const source = join(root, folder);
  const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'lacre', 'interop');
  const target = join(cache, inputsHash(source, goVersion()));
  const path = join(target, name);
  if (existsSync(path)) return path;
  mkdirSync(cache, { recursive: true });
  if (process.env[LOCKED] !== module) return buildLocked(name, module, cache);
  const work = mkdtempSync(join(cache, 'build-'));
  try {
    cpSync(source, work, { recursive: true });
    say(`building ${name}; the first time this takes minutes`);
    const out = join(work, 'out');
    const options = ['build', '-mod=mod', '-buildvcs=false', '-o', `${out}/`, ...targets];
    const env = { ...process.env, ...environment };
    const { status, error } = spawnSync('go', options, { cwd: work, stdio: ['ignore', 2, 2], env });
    if (error || status !== 0) fail(`go build failed${error ? `: ${error.message}` : ''}; see its messages above`);
    rmSync(target, { recursive: true, force: true });
    renameSync(out, target);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return path;
}

/** The same again while nobody else builds this module: who waited finds the programs made. */
function buildLocked(name, module, cache) {
  const lock = join(cache, `${module}.lock`);
  const command = [lock, process.execPath, fileURLToPath(import.meta.url), name];
  const { status, stdout, error } = spawnSync('flock', command, {
    env: { ...process.env, [LOCKED]: module },
    stdio: ['ignore', 'pipe', 2],
    encoding: 'utf8',
  });
  if (error || status !== 0) fail(`${name} could not be built${error ? `: ${error.message}` : ''}`, status ?? 1);
  return stdout.trim();
}

process.stdout.write(`${build(process.argv[2])}\n`);
