import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Coverage } from './coverage.ts';
import { type Finding, fuzz, shrink } from './fuzz-loop.ts';
import { loadTarget, targetNames } from './registry.ts';

const BUILD = join(import.meta.dirname, '../../../build/fuzz');

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    minutes: { type: 'string', default: '1' },
    seed: { type: 'string' },
    forget: { type: 'boolean', default: false },
  },
});
const minutes = Number(values.minutes);
const names = positionals.length > 0 ? positionals : targetNames();
if (names.some((name) => !targetNames().includes(name)) || !(minutes > 0)) {
  process.stderr.write(`npm run fuzz -- [TARGET…] [--minutes N] [--seed N]\ntargets: ${targetNames().join(', ')}\n`);
  process.exit(2);
}
const seed = values.seed === undefined ? Date.now() % 1_000_000 : Number(values.seed);
const [only, ...more] = names;
// Sockets that a target has opened must not keep the process.
process.exit(only !== undefined && more.length === 0 ? await fuzzTarget(only) : fuzzEach());

/** Each target in a process of its own: what others load makes coverage slower, and a crash ends one alone. */
function fuzzEach(): number {
  const share = String(minutes / names.length);
  const failed = names.filter((name) => {
    const args = [import.meta.filename, name, '--minutes', share, '--seed', String(seed)];
    if (values.forget) args.push('--forget');
    return spawnSync(process.execPath, args, { stdio: 'inherit' }).status !== 0;
  });
  return failed.length === 0 ? 0 : 1;
}

/** Fuzzes one target, with what earlier runs kept in `build/fuzz`; 1 where something was found. */
async function fuzzTarget(name: string): Promise<number> {
  const folder = join(BUILD, name);
  if (!values.forget) mkdirSync(folder, { recursive: true });
  const corpus = values.forget
    ? []
    : readdirSync(folder).map((file) => new Uint8Array(readFileSync(join(folder, file))));
  const onNew = (bytes: Uint8Array) => {
    if (!values.forget) writeFileSync(join(folder, nameOf(bytes)), bytes);
  };
  let last = new Uint8Array();
  const onRun = (bytes: Uint8Array) => {
    last = new Uint8Array(bytes);
  };
  process.once('uncaughtException', (error) => {
    tell(name, { rule: 'only the typed error escapes', bytes: last, what: `out of turn: ${error.stack}` });
    process.exit(1);
  });
  using coverage = new Coverage();
  const target = await loadTarget(name);
  const report = await fuzz(target, { cpuMs: minutes * 60_000, seed, coverage, corpus, onNew, onRun });
  process.stdout.write(`${name}: ${report.runs} runs, ${report.corpus.length} inputs kept, seed ${seed}\n`);
  for (const finding of report.findings) tell(name, await shrink(target, finding));
  return report.findings.length === 0 ? 0 : 1;
}

function tell(name: string, { rule, bytes, what }: Finding): void {
  const folder = join(BUILD, 'findings');
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `${name}-${nameOf(bytes)}`);
  writeFileSync(path, bytes);
  process.stdout.write(`FOUND ${name}: ${rule}: ${what}\n  ${bytes.length} bytes in ${path}\n`);
}

function nameOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex').slice(0, 16);
}
