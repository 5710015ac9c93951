import { globSync, readFileSync } from 'node:fs';
import { dirname, relative, resolve } from 'node:path';
import { LAYERS } from '../../src/layers.ts';

export const ROOT = resolve(import.meta.dirname, '../..');

/** The links of the chain, in order. */
export const LINKS: readonly string[] = LAYERS.filter((layer) => layer.kind === 'link').map((layer) => layer.name);

/** The links' unit tests, the vectors' and the clauses of the standards. */
const TESTS = [
  ...LINKS.map((link) => `src/${link}/**/*.test.ts`),
  'test/vectors.test.ts',
  'test/conformance/*.test.ts',
];

/** A link's sources: neither tests nor what only tests use. */
export function sourceFiles(link: string): string[] {
  return globSync(`src/${link}/**/*.ts`, { cwd: ROOT })
    .filter((file) => !/(\.test|-fixture)\.ts$/.test(file))
    .toSorted();
}

/** The test files that import one of these, directly or not. */
export function testFilesOf(sources: readonly string[]): string[] {
  const imports = new Map<string, string[]>();
  const importsOf = (file: string): string[] => {
    const known = imports.get(file);
    if (known !== undefined) return known;
    const found = [...readFileSync(resolve(ROOT, file), 'utf8').matchAll(/\bfrom '(\.[^']+\.ts)'/g)];
    const paths = found.map(([, path = '']) => relative(ROOT, resolve(ROOT, dirname(file), path)));
    imports.set(file, paths);
    return paths;
  };
  const wanted = new Set(sources);
  const reaches = (file: string, seen: Set<string>): boolean => {
    if (wanted.has(file)) return true;
    if (seen.has(file)) return false;
    seen.add(file);
    return importsOf(file).some((next) => reaches(next, seen));
  };
  return globSync(TESTS, { cwd: ROOT })
    .filter((file) => reaches(file, new Set()))
    .toSorted();
}
