import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';

const SOURCE = join(import.meta.dirname, '../../deploy/node/noexec-hook.c');
const folder = mkdtempSync(join(tmpdir(), 'lacre-hook-'));
after(() => rmSync(folder, { recursive: true }));

const hook = join(folder, 'noexec-hook');
const made = spawnSync('gcc', [
  '-O1',
  '-Wall',
  '-Wextra',
  '-Werror',
  '-fsanitize=address,undefined',
  '-o',
  hook,
  SOURCE,
]);
const skip = made.error && process.env['CI'] !== 'true' ? 'gcc is not installed' : false;

function run(args: readonly string[], input: string) {
  const { status, stdout, stderr } = spawnSync(hook, args, {
    input,
    encoding: 'utf8',
    env: { ASAN_OPTIONS: 'detect_leaks=0' },
  });
  return { status, stdout, stderr };
}

test('precreate: every mount gets noexec as its last option, nothing else changes', { skip }, () => {
  const config = {
    root: { path: '/x', readonly: true },
    process: { args: ['/bin/app', '"options":["rw"]', 'a\\"b'] },
    mounts: [
      { destination: '/proc', options: [] },
      { destination: '/data', options: ['rbind', 'exec', 'odd]word', 'quote"d'] },
    ],
  };
  for (const indent of [undefined, 2]) {
    const { status, stdout } = run(['precreate'], JSON.stringify(config, null, indent));
    assert.equal(status, 0);
    const mounts = config.mounts.map((mount) => ({ ...mount, options: [...mount.options, 'noexec'] }));
    assert.deepEqual(JSON.parse(stdout), { ...config, mounts });
  }
});

test('input that ends too early is passed through within its bounds', { skip }, () => {
  for (const text of ['{"options":["a', '{"options":[', '{"options"', '{"opt', '"\\', '{"options":["a\\']) {
    const { status, stdout, stderr } = run(['precreate'], text);
    assert.equal(status, 0, stderr);
    assert.ok(stdout.startsWith(text.slice(0, 5)), stdout);
  }
});

test('createRuntime: a state without a process, or with that of init, refuses the container', { skip }, () => {
  for (const state of [
    '',
    '{}',
    '{"id":"\\"pid\\":7"}',
    '{"annotations":{"pid":7}}',
    '{"pid":1}',
    '{"pid":0}',
    '{"pid',
  ]) {
    const { status, stderr } = run([], state);
    assert.equal(status, 1, state);
    assert.match(stderr, /lacre noexec hook: /);
  }
});
