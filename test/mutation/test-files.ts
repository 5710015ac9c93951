import { globSync } from 'node:fs';
import { resolve } from 'node:path';
import { LAYERS } from '../../src/layers.ts';

export const ROOT = resolve(import.meta.dirname, '../..');

/** The links of the chain, in order. */
export const LINKS: readonly string[] = LAYERS.filter((layer) => layer.kind === 'link').map((layer) => layer.name);

/** A link's sources: neither tests nor what only tests use. */
export function sourceFiles(link: string): string[] {
  return globSync(`src/${link}/**/*.ts`, { cwd: ROOT })
    .filter((file) => !/(\.test|-fixture)\.ts$/.test(file))
    .toSorted();
}

/** What has to notice: a link's unit tests, the vectors and the clauses of the standards. */
export function testFiles(link: string): string[] {
  return globSync([`src/${link}/**/*.test.ts`, 'test/vectors.test.ts', 'test/conformance/*.test.ts'], { cwd: ROOT });
}
