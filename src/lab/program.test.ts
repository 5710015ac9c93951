import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { runProgram, startService } from './program.ts';
import { stopOnSignals } from './stop-signal.ts';

let folder: string;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lacre-program-'));
});

after(() => rm(folder, { recursive: true, force: true }));

test('the output of a program that reads its input', async () => {
  const output = await runProgram('tr', ['a-z', 'A-Z'], { input: Buffer.from('orders') });
  assert.equal(output.toString(), 'ORDERS');
});

test('a program that is not installed is named', async () => {
  const wanted = { code: 'lab.program.missing', message: 'lacre-no-such-program: is not installed' };
  await assert.rejects(runProgram('lacre-no-such-program', []), wanted);
  await assert.rejects(startService('lacre-no-such-program', [], join(folder, 'log')), wanted);
});

test('a program that fails is shown with its status and the last it said', async () => {
  await assert.rejects(runProgram('sh', ['-c', 'echo first; echo the disk is full >&2; exit 7']), {
    code: 'lab.program.failed',
    message: 'sh -c failed (7): the disk is full',
  });
});

test('what is no program at all fails as well', async () => {
  const file = join(folder, 'not-executable');
  await writeFile(file, 'text', { mode: 0o600 });
  await assert.rejects(runProgram(file, []), { code: 'lab.program.failed' });
});

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  test(`${signal} ends a program and all that it started, and the lab says that it was stopped`, async () => {
    const stop = new AbortController();
    using _signals = stopOnSignals(stop);
    const pidFile = join(folder, signal);
    const running = runProgram(
      'sh',
      ['-c', `sleep 300 & echo $! > ${pidFile}.new; mv ${pidFile}.new ${pidFile}; wait`],
      {
        signal: stop.signal,
      },
    );
    const ended = assert.rejects(running, { code: 'lab.stopped' });
    while (!existsSync(pidFile)) await delay(10);
    process.kill(process.pid, signal);
    await ended;
    const pid = Number(await readFile(pidFile, 'utf8'));
    assert.ok(await isGone(pid), `process ${pid} is still there`);
  });
}

/** A process whose parent has died before it may stay a moment as a zombie. */
async function isGone(pid: number): Promise<boolean> {
  for (let tries = 0; tries < 100; tries++) {
    const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
    if (status === '' || /^State:\s+Z/m.test(status)) return true;
    await delay(20);
  }
  return false;
}
