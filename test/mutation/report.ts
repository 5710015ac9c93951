import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Result, Status } from './mutation-run.ts';
import { ROOT } from './test-files.ts';

export const BUILD = join(ROOT, 'build/mutation');
const COLUMNS: readonly Status[] = ['killed', 'timeout', 'crash', 'survived', 'unreached'];

/** Writes `build/mutation/NAME.json`: every mutant with what came of it. Returns the path. */
export function writeReport(name: string, results: readonly Result[]): string {
  mkdirSync(BUILD, { recursive: true });
  const path = join(BUILD, `${name}.json`);
  const rows = results.map(({ mutant, status, killer }) => {
    const { file, line, operator, original, replacement, key } = mutant;
    return { status, file, line, operator, original, replacement, key, killer };
  });
  writeFileSync(path, `[\n${rows.map((row) => JSON.stringify(row)).join(',\n')}\n]\n`);
  return path;
}

/** A line for each file and one for all: how many mutants, and what came of them. */
export function table(name: string, results: readonly Result[]): string {
  const files = [...new Set(results.map(({ mutant }) => mutant.file))];
  const rows = files.map((file) => [file, results.filter(({ mutant }) => mutant.file === file)] as const);
  return [
    `${'file'.padEnd(48)} ${'mutants'.padStart(7)} ${COLUMNS.map((column) => column.padStart(9)).join(' ')}   score`,
    ...rows.map(([file, some]) => row(file, some)),
    row(name, results),
    '',
  ].join('\n');
}

function row(name: string, results: readonly Result[]): string {
  const counts = COLUMNS.map((column) => results.filter(({ status }) => status === column).length);
  return `${name.padEnd(48)} ${String(results.length).padStart(7)} ${counts
    .map((count) => String(count).padStart(9))
    .join(' ')} ${score(results).padStart(7)}`;
}

/** Noticed ones of all, in percent. */
export function score(results: readonly Result[]): string {
  const noticed = results.filter(({ status }) => status === 'killed' || status === 'timeout' || status === 'crash');
  return `${((100 * noticed.length) / results.length).toFixed(1)} %`;
}
