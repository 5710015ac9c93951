import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { findMutants } from './find-mutants.ts';
import { instrument } from './instrument.ts';
import type { Mutant } from './mutant.ts';
import {
  passTogether,
  type RecordedFile,
  type Result,
  recordFile,
  tryFromTheStart,
  tryInOneProcess,
} from './mutation-run.ts';
import { BUILD, table, writeReport } from './report.ts';
import { readSurvivors } from './survivor-list.ts';
import { LINKS, ROOT, sourceFiles, testFiles } from './test-files.ts';
import type { Manifest } from './worker-messages.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    /** Files with one of these in their name. */
    file: { type: 'string', multiple: true, default: [''] },
    /** Without slow tests and the second step, so that more seem to survive than do. */
    quick: { type: 'boolean', default: false },
  },
});
const links = positionals.length > 0 ? positionals : LINKS;
if (links.some((link) => !LINKS.includes(link))) {
  process.stderr.write(
    `npm run mutation -- [LINK…] [--file PART-OF-ITS-NAME]… [--quick]\nlinks: ${LINKS.join(', ')}\n`,
  );
  process.exit(2);
}
const QUICK_TEST_MS = 300;
const started = Date.now();
let unexplained = 0;
for (const link of links) unexplained += await mutateLink(link);
process.exit(unexplained === 0 ? 0 : 1);

function say(text: string): void {
  process.stderr.write(`[${((Date.now() - started) / 1000).toFixed(0).padStart(5)} s] ${text}\n`);
}

/** All mutants of a link. Returns how many survive without a reason. */
async function mutateLink(link: string): Promise<number> {
  const sources = sourceFiles(link).filter((file) => values.file.some((part) => file.includes(part)));
  if (sources.length === 0) return 0;
  const { mutants, manifestPath } = prepare(link, sources);
  const results = mutants.map((mutant): Result => ({ mutant, status: undefined }));
  const recorded: RecordedFile[] = [];
  for (const file of testFiles(link)) recorded.push(await recordFile(file, manifestPath));
  recorded.sort((a, b) => timeMs(a) - timeMs(b));
  say(`${link}: ${mutants.length} mutants, ${recorded.length} test files`);
  for (const file of recorded) {
    const before = left(results);
    await tryInOneProcess(file, results, manifestPath, values.quick ? QUICK_TEST_MS : undefined);
    if (left(results) === before) continue;
    say(`${link}: ${left(results)} left after ${file.file}`);
    writeReport(link, results);
  }
  const rest = results.filter(({ status }) => status === undefined);
  const together = !values.quick && rest.length > 0 && (await passTogether(recorded, manifestPath));
  for (const [index, result] of rest.entries()) {
    if (index % 50 === 0) say(`${link}: ${rest.length - index} to try from the start`);
    const ids = new Set(mutants.filter(({ file }) => file === result.mutant.file).map(({ id }) => id));
    if (values.quick) result.status = 'survived';
    else await tryFromTheStart(result, recorded, ids, manifestPath, together);
  }
  say(`report: ${writeReport(link, results)}`);
  process.stdout.write(table(link, results));
  return tellSurvivors(link, results);
}

/** Writes the mutated sources and the manifest of a run. */
function prepare(link: string, sources: readonly string[]): { mutants: Mutant[]; manifestPath: string } {
  const folder = join(BUILD, 'sources', link);
  mkdirSync(folder, { recursive: true });
  const mutants: Mutant[] = [];
  const paths: Record<string, string> = {};
  for (const file of sources) {
    const found = findMutants(file, readFileSync(join(ROOT, file), 'utf8'), mutants.length + 1);
    const path = join(folder, file.replaceAll('/', '+').replace(/\.ts$/, '.js'));
    writeFileSync(path, instrument(found.javascript, found.mutants));
    paths[pathToFileURL(join(ROOT, file)).href] = path;
    mutants.push(...found.mutants);
  }
  const manifest: Manifest = { count: mutants.length, sources: paths };
  const manifestPath = join(folder, 'manifest.json');
  writeFileSync(manifestPath, JSON.stringify(manifest));
  return { mutants, manifestPath };
}

function timeMs(recorded: RecordedFile): number {
  return recorded.tests.reduce((sum, test) => sum + test.cpuMs, 0);
}

function left(results: readonly Result[]): number {
  return results.filter(({ status }) => status === undefined).length;
}

/** Names the survivors without a reason, and the reasons without a survivor. */
function tellSurvivors(link: string, results: readonly Result[]): number {
  const known = readSurvivors(link);
  const survivors = results.filter(({ status }) => status === 'survived' || status === 'unreached');
  const unknown = survivors.filter(({ mutant }) => !known.has(mutant.key));
  for (const { mutant, status } of unknown) process.stdout.write(`${status}: ${mutant.key}\n`);
  const keys = new Set(survivors.map(({ mutant }) => mutant.key));
  const tried = new Set(results.map(({ mutant }) => mutant.file));
  for (const key of known.keys()) {
    if (!keys.has(key) && tried.has(key.split(' | ')[0] ?? ''))
      process.stdout.write(`no longer survives, take it off the list: ${key}\n`);
  }
  process.stdout.write(`${link}: ${survivors.length} survive, ${unknown.length} of them without a reason\n`);
  return unknown.length;
}
