import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readlinkSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { buildNative } from '../../scripts/build-native.ts';
import { parseCgroup } from '../container/cgroup.ts';
import { parseProcessStatus, parseStartTicks } from '../container/process-status.ts';
import { loadNative, type Native } from './native.ts';
import { Proc } from './proc.ts';
import { readProcessFacts } from './process-facts.ts';

let native: Native;
let child: ChildProcess;

before(async () => {
  buildNative();
  native = loadNative();
  child = spawn('sleep', ['1000'], { stdio: 'ignore' });
  await once(child, 'spawn');
});

after(() => child.kill('SIGKILL'));

test('tells what its files and links do', () => {
  const folder = `/proc/${child.pid}`;
  const text = (name: string) => readFileSync(`${folder}/${name}`, 'latin1');
  const link = (name: string) => readlinkSync(`${folder}/${name}`);
  assert.deepEqual(new Proc().facts(child.pid ?? 0, native), {
    startTicks: parseStartTicks(text('stat')),
    status: parseProcessStatus(text('status')),
    owner: parseCgroup(text('cgroup')),
    executable: link('exe'),
    namespaces: { user: link('ns/user'), mnt: link('ns/mnt'), pid: link('ns/pid') },
  });
});

test('of one that has ended nothing is told', async () => {
  const short = spawn('true', { stdio: 'ignore' });
  await once(short, 'exit');
  assert.throws(() => readProcessFacts(native, `/proc/${short.pid}`), { code: 'ENOENT' });
});

test('a buffer that is too small, at each size, and arguments that are none', () => {
  const folder = `/proc/${child.pid}`;
  const whole = Buffer.alloc(64 * 1024);
  native.readProcess(folder, whole);
  let needed = 0;
  for (let fact = 0; fact < 7; fact += 1) needed += 4 + whole.readInt32LE(needed);
  for (let size = 0; size <= needed; size += 1) {
    const buffer = Buffer.alloc(size + 8, 0xee);
    assert.throws(() => native.readProcess(folder, buffer.subarray(0, size)), { code: 'EOVERFLOW' }, `${size}`);
    assert.ok(buffer.subarray(size).equals(Buffer.alloc(8, 0xee)), `writes behind ${size} bytes`);
  }
  native.readProcess(folder, Buffer.alloc(needed + 1));
  for (const bad of [undefined, 7, '/'.repeat(5000)])
    assert.throws(() => native.readProcess(bad as string, whole), { code: 'EINVAL' });
  assert.throws(() => native.readProcess(folder, 'x' as unknown as Buffer), { code: 'EINVAL' });
});
