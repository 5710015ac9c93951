// First step of every npm script. Runs under whatever Node (>= 20) started npm, with nothing installed yet; brings the
// libraries of the lockfile, Node 24 among them, and hands over to it. Plain JavaScript for that reason.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
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

// A test that failed halfway may leave a program running, and one may wait for what never comes: neither stops the others
// for ever. --test-force-exit would end it sooner, but what a file has yet to tell of its tests is lost then.
const runTests = ['--test', '--test-concurrency=2', `--test-timeout=${20 * 60_000}`];

/** The chain of src/layers.ts, which this step cannot import yet; test/architecture.test.ts holds it to that. */
const LINKS = ['tpm', 'boot', 'ima', 'container', 'appraisal', 'identity', 'issuance'];

/** The links' unit tests reach every line, branch and function of the links. */
const coverage = () => {
  const links = LINKS.map((link) => `src/${link}/**`);
  const options = [
    '--experimental-test-coverage',
    ...links.map((files) => `--test-coverage-include=${files}`),
    ...['test', 'fixture'].map((kind) => `--test-coverage-exclude=**/*[.-]${kind}.ts`),
    ...['lines', 'branches', 'functions'].map((what) => `--test-coverage-${what}=100`),
    '--test-reporter=./test/coverage-reporter.ts',
  ];
  return [
    ['tests of the links, with their coverage', node, [...runTests, ...options, ...links.map((l) => `${l}/*.test.ts`)]],
  ];
};

const tests = (args) => {
  if (args.length > 0) return [['tests', node, [...runTests, ...args]]];
  const folders = readdirSync(join(root, 'src')).filter((name) => !LINKS.includes(name));
  const files = folders.map((name) => (name.endsWith('.ts') ? `src/${name}` : `src/${name}/**/*.test.ts`));
  const others = files.filter((file) => file.endsWith('.test.ts'));
  return [...coverage(), ['tests', node, [...runTests, ...others, 'test/**/*.test.ts']]];
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
  case 'coverage':
    installPackages(['test'], { say, fail, optional: process.env.CI !== 'true' });
    process.exit(await steps(coverage()));
    break;
  case 'mutation':
    installPackages(['test'], { say, fail, optional: process.env.CI !== 'true' });
    process.exit(await become(node, [join(root, 'test/mutation/main.ts'), ...args]));
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
      `unknown step ${JSON.stringify(what)}: use npm run lab, npm test, npm run check, npm run generate, npm run coverage, npm run mutation, npm run bench, npm run fuzz or npm run lacre`,
      2,
    );
}
