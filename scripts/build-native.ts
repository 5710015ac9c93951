/**
 * Compiles native/lacre.c into build/native/lacre.node, unless it is there from just these bytes. Needs gcc (or the
 * compiler that CC names).
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const FLAGS = ['-std=gnu17', '-Os', '-Wall', '-Wextra', '-Werror', '-shared', '-fPIC', '-fvisibility=hidden', '-s'];
const HARDENING = [
  '-fstack-protector-strong',
  '-D_FORTIFY_SOURCE=2',
  '-Wl,-z,relro,-z,now,-z,noexecstack,--build-id=none',
];

/** Path of the addon, compiled now if need be. Throws where there is no compiler, or it refuses. */
export function buildNative(): string {
  const source = join(root, 'native/lacre.c');
  const headers = join(root, 'node_modules/node-api-headers/include');
  const folder = join(root, 'build/native');
  const [made, mark] = [join(folder, 'lacre.node'), join(folder, 'lacre.node.inputs')];
  const compiler = process.env['CC'] ?? 'gcc';
  const inputs = createHash('sha256')
    .update(readFileSync(source))
    .update(readFileSync(join(headers, 'node_api.h')))
    .update(JSON.stringify([compiler, FLAGS, HARDENING, process.arch]))
    .digest('hex');
  if (existsSync(made) && existsSync(mark) && readFileSync(mark, 'utf8') === inputs) return made;
  mkdirSync(folder, { recursive: true });
  const partial = `${made}.${process.pid}`;
  const args = [...FLAGS, ...HARDENING, '-I', headers, '-o', partial, source];
  const { status, stderr, error } = spawnSync(compiler, args, { encoding: 'utf8' });
  if (error !== undefined || status !== 0) {
    rmSync(partial, { force: true });
    throw new Error(`${compiler} could not compile native/lacre.c: ${error?.message ?? stderr}`);
  }
  renameSync(partial, made);
  writeFileSync(mark, inputs);
  return made;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    process.stdout.write(`${buildNative()}\n`);
  } catch (error) {
    process.stderr.write(`lacre: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
