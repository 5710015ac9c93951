/**
 * Makes dist/lacre: the program, its libraries, Node and the native addon in one executable file, so that one measured
 * digest holds all of its code (docs/decisions/0005). What it was made of is hashed; it is there already where nothing
 * has changed. Needs gcc and strip.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BuildOptions, build, type Plugin } from 'esbuild';
import { buildNative } from './build-native.ts';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const FUSE = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2';

/**
 * Closed by its own settings: no option from NODE_OPTIONS, from arguments or from files (execArgvExtension none), no
 * debugger on SIGUSR1, no cached code from a folder (its code cache is inside).
 */
export const SEA = {
  disableExperimentalSEAWarning: true,
  useCodeCache: true,
  useSnapshot: false,
  execArgvExtension: 'none',
  execArgv: ['--disable-sigusr1', '--max-semi-space-size=4'],
};

/** The lab runs from sources; left out, a change of it doesn't change what nodes run. */
const WITHOUT_LAB: Plugin = {
  name: 'without-lab',
  setup: ({ onResolve, onLoad }) => {
    onResolve({ filter: /\/lab\/lab\.ts$/ }, () => ({ path: 'lab', namespace: 'without-lab' }));
    const sentence = 'the lab runs from the sources of Lacre: npm run lab';
    const contents = `const fail = async () => { throw new Error(${JSON.stringify(sentence)}); };
export { fail as labUp, fail as labDown };`;
    onLoad({ filter: /.*/, namespace: 'without-lab' }, () => ({ contents, loader: 'js' }));
  },
};

/** import.meta.url means nothing in CommonJS; nothing that the executable runs reads files beside itself. */
const BUNDLE: BuildOptions = {
  bundle: true,
  platform: 'node',
  format: 'cjs',
  target: 'node24',
  minifyWhitespace: true,
  minifySyntax: true,
  legalComments: 'none',
  plugins: [WITHOUT_LAB],
  logLevel: 'warning',
  define: { 'import.meta.url': 'executableUrl' },
  banner: { js: "const executableUrl=require('node:url').pathToFileURL(process.execPath).href;" },
};

function run(command: string, args: string[]): void {
  const { status, stderr, error } = spawnSync(command, args, { cwd: root, encoding: 'utf8' });
  if (error !== undefined || status !== 0) throw new Error(`${command} failed: ${error?.message ?? stderr}`);
}

/** Node without its symbols: 18 MB less. Stripped before injection: after it, the file would not start. */
function strippedNode(node: string, work: string): string {
  const { size, mtimeMs } = statSync(node);
  const stripped = join(work, `node-${process.version}-${size}-${Math.trunc(mtimeMs)}`);
  if (existsSync(stripped)) return stripped;
  run('strip', ['-o', `${stripped}.new`, node]);
  renameSync(`${stripped}.new`, stripped);
  return stripped;
}

export interface BuiltExecutable {
  readonly path: string;
  readonly sha256: string;
  readonly bytes: number;
  /** False: it was there already. */
  readonly made: boolean;
}

/** What an executable is made from, and where it goes; paths from the project's root. */
export interface ExecutableOptions {
  readonly entry: string;
  readonly output: string;
  /** Folder for what lies between. */
  readonly work: string;
}

const LACRE: ExecutableOptions = { entry: 'src/main.ts', output: 'dist/lacre', work: 'build/executable' };

/** Builds the executable where its inputs have changed. Throws where a tool is missing or fails. */
export async function buildExecutable(options: ExecutableOptions = LACRE): Promise<BuiltExecutable> {
  const work = join(root, options.work);
  mkdirSync(work, { recursive: true });
  const path = join(root, options.output);
  const [main, output] = [join(work, 'main.cjs'), join(work, 'lacre.blob')];
  const native = buildNative();
  await build({ ...BUNDLE, entryPoints: [join(root, options.entry)], outfile: main });
  const inputs = createHash('sha256');
  for (const file of [main, native]) inputs.update(createHash('sha256').update(readFileSync(file)).digest());
  inputs.update(JSON.stringify([process.version, process.arch, SEA]));
  const digest = inputs.digest('hex');
  const mark = `${path}.inputs`;
  if (existsSync(path) && existsSync(mark) && readFileSync(mark, 'utf8').startsWith(`${digest} `)) {
    const [, sha256 = ''] = readFileSync(mark, 'utf8').trim().split(' ');
    return { path, sha256, bytes: statSync(path).size, made: false };
  }
  const config = join(work, 'sea.json');
  writeFileSync(config, JSON.stringify({ ...SEA, main, output, assets: { 'lacre.node': native } }));
  run(process.execPath, ['--predictable', '--experimental-sea-config', config]);
  mkdirSync(dirname(path), { recursive: true });
  const partial = `${path}.${process.pid}`;
  try {
    writeFileSync(partial, readFileSync(strippedNode(process.execPath, work)));
    const postject = join(root, 'node_modules/postject/dist/cli.js');
    run(process.execPath, [postject, partial, 'NODE_SEA_BLOB', output, '--sentinel-fuse', FUSE]);
    chmodSync(partial, 0o755);
    const sha256 = createHash('sha256').update(readFileSync(partial)).digest('hex');
    renameSync(partial, path);
    writeFileSync(mark, `${digest} ${sha256}\n`);
    return { path, sha256, bytes: statSync(path).size, made: true };
  } finally {
    rmSync(partial, { force: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    const { path, sha256, bytes, made } = await buildExecutable();
    const size = `${(bytes / 1e6).toFixed(1)} MB`;
    process.stdout.write(`${relative(process.cwd(), path)}: ${size}, sha256 ${sha256}${made ? '' : ' (was there)'}\n`);
  } catch (error) {
    process.stderr.write(`lacre: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
