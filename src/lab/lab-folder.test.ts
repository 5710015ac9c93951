import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { endLeftOver, runningLab } from './lab-folder.ts';

/** Stands for `lacre lab up`: makes a run with one service, says so, and stays. */
const LAB = `
const { LabRun } = await import(${JSON.stringify(join(import.meta.dirname, 'lab-folder.ts'))});
const { startService } = await import(${JSON.stringify(join(import.meta.dirname, 'program.ts'))});
const run = await LabRun.make();
await run.own(await startService('sh', ['-c', 'sleep 300; true', run.folder], run.folder + '/log'));
console.log('made');
setInterval(() => {}, 60_000);
`;

let cache: string;
const cacheBefore = process.env['XDG_CACHE_HOME'];

before(async () => {
  cache = await mkdtemp(join(tmpdir(), 'lacre-cache-'));
  process.env['XDG_CACHE_HOME'] = cache; // a lab that runs on this machine is not ours
});

after(async () => {
  if (cacheBefore === undefined) delete process.env['XDG_CACHE_HOME'];
  else process.env['XDG_CACHE_HOME'] = cacheBefore;
  await rm(cache, { recursive: true, force: true });
});

test('a lab at work is left alone; one whose command was killed is ended, and nothing of it is left', async () => {
  await endLeftOver(); // there is none
  const lab = spawn(process.execPath, ['--input-type=module', '-e', LAB, 'up'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(lab.stdout, 'data');
  const state = await runningLab();
  const [service] = state?.pids ?? [];
  assert.ok(state && service);
  assert.equal(state.owner, lab.pid);
  await assert.rejects(endLeftOver(), { code: 'lab.running' });
  assert.ok(await lives(service), 'its service runs on');

  lab.kill('SIGKILL');
  await once(lab, 'exit');
  await endLeftOver();
  assert.equal(await runningLab(), undefined);
  assert.ok(!existsSync(state.folder));
  for (let tries = 0; tries < 100 && (await lives(service)); tries++) await delay(20);
  assert.ok(!(await lives(service)), 'its service has ended');
});

async function lives(pid: number): Promise<boolean> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return status !== '' && !/^State:\s+Z/m.test(status);
}
