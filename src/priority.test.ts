import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { getPriority } from 'node:os';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { comeFirst } from './priority.ts';

const isRoot = process.getuid?.() === 0;

/** What a process of its own says of its threads before and after, begun with this priority. */
function told(adjustment: number): { came: boolean; before: number; after: number[] } {
  const module = JSON.stringify(fileURLToPath(new URL('priority.ts', import.meta.url)));
  const text = `const { comeFirst } = await import(${module});
const [{ getPriority }, { readdirSync }] = [await import('node:os'), await import('node:fs')];
const before = getPriority();
const came = comeFirst();
const after = readdirSync('/proc/self/task').map((thread) => getPriority(Number(thread)));
console.log(JSON.stringify({ came, before, after }));`;
  const node = [process.execPath, '--input-type=module', '-e', text];
  const { stdout, stderr } = spawnSync('nice', ['-n', String(adjustment), ...node], { encoding: 'utf8' });
  assert.notEqual(stdout, '', stderr);
  return JSON.parse(stdout);
}

test('all threads of the process come first', { skip: !isRoot && 'needs root' }, () => {
  const { came, after } = told(0);
  assert.equal(came, true);
  assert.ok(after.length > 1);
  assert.ok(after.every((nice) => nice === -10));
});

test('who was given more keeps it', { skip: !isRoot && 'needs root' }, () => {
  const { came, before, after } = told(-15 - getPriority());
  assert.deepEqual([came, before], [true, -15]);
  assert.ok(after.every((nice) => nice === -15));
});

test('where it cannot be had, nothing is different', () => {
  const before = getPriority();
  assert.equal(comeFirst('/nowhere'), before <= -10);
  assert.ok(readdirSync('/proc/self/task').every((thread) => getPriority(Number(thread)) === before));
});
