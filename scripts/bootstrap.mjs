// First step of every npm script. Runs under whatever Node (>= 20) started npm, with nothing installed yet; brings the
// libraries of the lockfile, Node 24 among them, and hands over to it. Plain JavaScript for that reason.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { installPackages } from './packages.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const bin = join(root, 'node_modules', '.bin');
const started = Date.now();

function say(text) {
  process.stderr.write(`[${((Date.now() - started) / 1000).toFixed(1).padStart(5)} s] ${text}\n`);
}

function fail(text, status = 1) {
  process.stderr.write(`lacre: ${text}\n`);
  process.exit(status);
}

/** Installs the lockfile's libraries unless just these are there already. */
function ensureLibraries() {
  const lock = readFileSync(join(root, 'package-lock.json'));
  const want = createHash('sha256').update(lock).update(`${process.platform} ${process.arch}`).digest('hex');
  const mark = join(root, 'node_modules', '.lacre-installed');
  if (existsSync(mark) && readFileSync(mark, 'utf8') === want) return;
  say('installing the libraries of package-lock.json, Node 24 among them');
  const { status, error } = spawnSync(
    'npm',
    ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'],
    {
      cwd: root,
      stdio: ['ignore', 2, 2],
      shell: process.platform === 'win32',
    },
  );
  if (error || status !== 0) fail(`npm ci failed${error ? `: ${error.message}` : ''}; see its messages above`, 5);
  writeFileSync(mark, want);
}

/** Replaces this process as far as Node allows: same terminal, signals passed on, its exit status ours. */
function become(command, args, extra = {}) {
  const child = spawn(command, args, {
    stdio: 'inherit',
    cwd: extra.cwd ?? process.cwd(),
    env: { ...process.env, PATH: `${bin}:${process.env.PATH}`, NODE_NO_WARNINGS: '1' },
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => fail(`${command}: ${error.message}`));
  return new Promise((resolve) => {
    child.on('exit', (status, signal) => resolve(signal ? 1 : (status ?? 1)));
  });
}

const node = join(bin, 'node');

async function steps(list) {
  for (const [name, command, args] of list) {
    say(name);
    const status = await become(command, args, { cwd: root });
    if (status !== 0) return status;
  }
  return 0;
}

const checks = () => [
  ['types', join(bin, 'tsc'), ['--noEmit', '-p', root]],
  ['style', join(bin, 'biome'), ['check', '--error-on-warnings', root]],
  ['generated files are current', node, ['scripts/generate.ts', '--check']],
];

const tests = (args) => {
  const files = args.length > 0 ? args : ['src/**/*.test.ts', 'test/**/*.test.ts'];
  // A test that failed halfway may leave a program running, and one may wait for what never comes: neither stops the others.
  const bounds = ['--test-force-exit', `--test-timeout=${30 * 60_000}`];
  return [['tests', node, ['--test', '--test-concurrency=2', ...bounds, ...files]]];
};

const [what, ...args] = process.argv.slice(2);
process.umask(0o022);
ensureLibraries();
switch (what) {
  case 'run':
    process.exit(await become(node, [join(root, 'src/main.ts'), ...args]));
    break;
  case 'lab': {
    installPackages(['lab'], { say, fail });
    process.exit(
      await become(node, [
        join(root, 'src/main.ts'),
        'lab',
        args[0] === 'down' ? 'down' : 'up',
        ...args.filter((a) => a !== 'down' && a !== 'up'),
      ]),
    );
    break;
  }
  case 'check':
    process.exit(await steps(checks()));
    break;
  case 'test':
    installPackages(['lab', 'test'], { say, fail, optional: process.env.CI !== 'true' });
    process.exit(await steps(args.length > 0 ? tests(args) : [...checks(), ...tests(args)]));
    break;
  case 'bench':
    installPackages(['lab', 'test'], { say, fail, optional: true });
    process.exit(await become(node, [join(root, 'bench/main.ts'), ...args]));
    break;
  case 'fuzz':
    process.exit(await become(node, [join(root, 'test/fuzz/engine/main.ts'), ...args]));
    break;
  case 'generate':
    process.exit(await steps([['generate', node, ['scripts/generate.ts']]]));
    break;
  default:
    fail(
      `unknown step ${JSON.stringify(what)}: use npm run lab, npm test, npm run check, npm run generate, npm run bench, npm run fuzz or npm run lacre`,
      2,
    );
}
