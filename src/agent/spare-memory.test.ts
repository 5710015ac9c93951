import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';

/** A process of its own: the flags that are set change how it runs. The timer's period is shortened to a tenth of a second. */
const PROGRAM = `
const real = globalThis.setInterval;
let turns = 0;
globalThis.setInterval = (work) => real(() => { turns += 1; work(); }, 100);
const { spareMemory } = await import(process.argv[1]);
const released = [];
spareMemory({ releaseMemory: () => released.push(turns) });
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const rest = async (count) => { for (const from = turns; turns < from + count;) await wait(10); };
let garbage = [];
const crowd = async () => {
  for (const from = process.cpuUsage().user; process.cpuUsage().user - from < 300_000;)
    garbage = Array.from({ length: 100_000 }, () => ({}));
  await rest(1);
};
await rest(8);
await crowd();
await rest(1);
const between = released.length;
await crowd();
const used = process.memoryUsage().heapUsed;
garbage = [];
await rest(8);
console.log(JSON.stringify({ start: released[0], between, all: released.length, freed: used > process.memoryUsage().heapUsed }));
`;

test('what the start and crowds left behind is given back once, when nobody has worked for three intervals', () => {
  const args = ['--input-type=module', '-e', PROGRAM, join(import.meta.dirname, 'spare-memory.ts')];
  const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 60_000 });
  const seen = JSON.parse(stdout || assert.fail(stderr));
  assert.ok(seen.start >= 3, `after ${seen.start} intervals`);
  assert.deepEqual(seen, { start: seen.start, between: 1, all: 2, freed: true });
});
