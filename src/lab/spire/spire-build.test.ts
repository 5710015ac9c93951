import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';

const SCRIPT = `
import { Progress } from ${JSON.stringify(join(import.meta.dirname, '../progress.ts'))};
import { buildSpire } from ${JSON.stringify(join(import.meta.dirname, 'spire-build.ts'))};
await buildSpire({}, new Progress(() => {}), new AbortController().signal).catch(({ code, exitCode, message }) => {
  console.log(JSON.stringify({ code, exitCode, message }));
});`;

test('without Go it says so, and what it is for', () => {
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', SCRIPT], {
    env: { PATH: '/nowhere' },
    encoding: 'utf8',
  });
  assert.deepEqual(
    JSON.parse(stdout || '{}'),
    {
      code: 'lab.program.missing',
      exitCode: 5,
      message: 'go: is not installed, and spire-server is built with it',
    },
    stderr,
  );
});
