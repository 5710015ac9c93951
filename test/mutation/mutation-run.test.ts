import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { after, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { findMutants } from './find-mutants.ts';
import { instrument } from './instrument.ts';
import {
  passTogether,
  type RecordedFile,
  type Result,
  recordFile,
  tryFromTheStart,
  tryInOneProcess,
} from './mutation-run.ts';
import { ROOT } from './test-files.ts';

const folder = mkdtempSync(join(tmpdir(), 'mutation-run-'));
after(() => rmSync(folder, { recursive: true }));

const SOURCE = `const LIMIT = 2;
export const below = (a: number): boolean => a < LIMIT;
export const unused = (): number => 7;
`;
const tests = (checks: string) => `import assert from 'node:assert/strict';
import { test } from 'node:test';
import { below } from './source.ts';
test('below', () => { ${checks} });
`;

test('a mutant that no test notices survives, one that counts on loading is noticed from the start', async () => {
  const path = join(folder, 'source.ts');
  const { javascript, mutants } = findMutants(relative(ROOT, path), SOURCE, 1);
  writeFileSync(path, SOURCE);
  writeFileSync(join(folder, 'mutated.js'), instrument(javascript, mutants));
  const files = { 'low.test.ts': 'assert.ok(below(1))', 'high.test.ts': 'assert.ok(!below(3)); assert.ok(!below(2))' };
  const sources = { [pathToFileURL(path).href]: join(folder, 'mutated.js') };
  const manifest = join(folder, 'manifest.json');
  writeFileSync(manifest, JSON.stringify({ count: mutants.length, sources }));
  for (const [name, checks] of Object.entries(files)) writeFileSync(join(folder, name), tests(checks));
  const recorded: RecordedFile[] = [];
  for (const name of Object.keys(files)) recorded.push(await recordFile(relative(ROOT, join(folder, name)), manifest));
  const [low, high] = recorded;
  assert.ok(low && high);
  const outcomes = async (some: RecordedFile[], together: boolean): Promise<string[]> => {
    const results = mutants.map((mutant): Result => ({ mutant, status: undefined }));
    for (const file of some) await tryInOneProcess(file, results, manifest);
    for (const result of results)
      if (result.status === undefined)
        await tryFromTheStart(result, some, new Set(mutants.map(({ id }) => id)), manifest, together);
    return results.map(({ mutant, status }) => `${mutant.original} → ${mutant.replacement}: ${status}`);
  };
  const alone = await outcomes([low], false);
  assert.deepEqual(alone, [
    '2 → 3: survived',
    'a < LIMIT → undefined: killed',
    'a < LIMIT → a <= LIMIT: survived',
    'a < LIMIT → true: survived',
    'a < LIMIT → false: killed',
    '7 → undefined: unreached',
    '7 → 8: unreached',
  ]);
  assert.equal(await passTogether(recorded, manifest), true);
  for (const together of [true, false]) {
    const found = await outcomes(recorded, together);
    assert.deepEqual(
      found.filter((line) => !line.endsWith(': killed')),
      ['7 → undefined: unreached', '7 → 8: unreached'],
    );
  }
});
