import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';

/** A process of its own: the flags that are set change how it runs. The timer's period is shortened to a tenth of a second. */
const PROGRAM = `
const real = globalThis.setInterval;
globalThis.setInterval = (work) => real(work, 100);
const { spareMemory } = await import(process.argv[1]);
let released = 0;
spareMemory({ releaseMemory: () => { released += 1; } });
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
await wait(350);
const atRest = released;
const until = performance.now() + 900;
let garbage = [];
while (performance.now() < until) garbage = Array.from({ length: 1000 }, () => ({}));
const used = process.memoryUsage().heapUsed;
for (let waited = 0; released === atRest && waited < 5000; waited += 50) await wait(50);
console.log(JSON.stringify({ atRest, after: released, freed: used - process.memoryUsage().heapUsed > 0 }));
`;

test('what the start and a crowd left behind is given back once each, when nobody works any more', () => {
  const args = ['--input-type=module', '-e', PROGRAM, join(import.meta.dirname, 'spare-memory.ts')];
  const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 20_000 });
  const seen = JSON.parse(stdout || assert.fail(stderr));
  assert.deepEqual(seen, { atRest: 1, after: 2, freed: true });
});
