import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { buildNative } from '../../scripts/build-native.ts';
import { ContainerSweep } from './container-sweep.ts';
import { loadNative, type Native } from './native.ts';

/** The kernel's own descriptors of real processes; a plain folder stands for a cgroup's, which is read in the same way. */
interface Held {
  readonly folder: string;
  readonly descriptors: Int32Array;
}

const PROCS = '17\n18\n';
const skip = spawnSync('unshare', ['-m', 'true']).status === 0 ? false : 'mount namespaces cannot be made here';
let native: Native;
let folder: string;
let sweep: ContainerSweep;
let children: ChildProcess[] = [];
let held: Held[] = [];

before(() => {
  buildNative();
  native = loadNative();
  folder = mkdtempSync(join(tmpdir(), 'lacre-sweep-'));
});
after(() => rmSync(folder, { recursive: true, force: true }));

beforeEach(() => {
  sweep = new ContainerSweep(native);
});

afterEach(() => {
  for (const child of children) child.kill('SIGKILL');
  for (const { descriptors } of held) for (const fd of descriptors) closeSync(fd);
  children = [];
  held = [];
});

/** A process with mounts of its own, which mounts a file system on /mnt for each line that it reads. */
async function startProcess(): Promise<ChildProcess> {
  const script = 'echo up; while read line; do mount -t tmpfs none /mnt; echo mounted; done';
  const child = spawn('unshare', ['-m', 'sh', '-c', script], { stdio: ['pipe', 'pipe', 'inherit'] });
  children.push(child);
  await once(child.stdout ?? assert.fail(), 'data');
  return child;
}

let made = 0;
function hold(pid: number, procs = PROCS): Held {
  const own = join(folder, String(made++));
  mkdirSync(own);
  writeFileSync(join(own, 'cgroup.procs'), procs);
  const files = [`/proc/${pid}/mountinfo`, own, join(own, 'cgroup.procs')];
  const descriptors = Int32Array.from([native.pidfdOpen(pid), ...files.map((path) => openSync(path, 'r'))]);
  held.push({ folder: own, descriptors });
  return { folder: own, descriptors };
}

function enter(id: string, pid: number, procs = PROCS): Held {
  const one = hold(pid, procs);
  sweep.enter(id, one.descriptors);
  sweep.expect(id, Buffer.from(procs));
  return one;
}

function told(isCompared = true): [string, boolean][] {
  const all: [string, boolean][] = [];
  sweep.look(isCompared, (id, isWhole) => all.push([id, isWhole]));
  return all;
}

test('of what is as it was nothing is told; of other processes until they are expected', { skip }, async () => {
  const { pid = 0 } = await startProcess();
  enter('still', pid);
  const { folder: own } = enter('busy', pid);
  assert.deepEqual(told(), []);
  writeFileSync(join(own, 'cgroup.procs'), '17\n19\n');
  assert.deepEqual(told(), [['busy', false]]);
  assert.deepEqual(told(), [['busy', false]]);
  sweep.expect('busy', Buffer.from('17\n19\n'));
  assert.deepEqual(told(), []);
  writeFileSync(join(own, 'cgroup.procs'), '17\n');
  assert.deepEqual(told(), [['busy', false]], 'one less');
  writeFileSync(join(own, 'cgroup.procs'), '');
  assert.deepEqual(told(), [['busy', true]], 'none at all');
});

test('where no process is compared, mounts and ends are told all the same', { skip }, async () => {
  const child = await startProcess();
  const { folder: own } = enter('one', child.pid ?? 0);
  writeFileSync(join(own, 'cgroup.procs'), '17\n');
  mkdirSync(join(own, 'below'));
  assert.deepEqual(told(false), []);
  child.stdin?.write('\n');
  await once(child.stdout ?? assert.fail(), 'data');
  assert.deepEqual(told(false), [['one', true]]);
  child.kill('SIGKILL');
  await once(child, 'exit');
  assert.deepEqual(told(false), [['one', true]]);
});

test('cgroups below are told while they are there', { skip }, async () => {
  const { pid = 0 } = await startProcess();
  const { folder: own } = enter('deep', pid);
  mkdirSync(join(own, 'below'));
  assert.deepEqual(told(), [['deep', true]]);
  rmdirSync(join(own, 'below'));
  assert.deepEqual(told(), []);
});

test('a change of mounts is told once, also of one whose processes are not compared', { skip }, async () => {
  const [one, other] = [await startProcess(), await startProcess()];
  enter('one', one.pid ?? 0);
  enter('other', other.pid ?? 0);
  sweep.expect('one', Buffer.alloc(0));
  assert.deepEqual([sweep.isCompared('one'), sweep.isCompared('other'), sweep.comparedCount], [false, true, 1]);
  for (let again = 0; again < 2; again += 1) {
    one.stdin?.write('\n');
    await once(one.stdout ?? assert.fail(), 'data');
    assert.deepEqual(told(), [['one', true]]);
    assert.deepEqual(told(), []);
  }
});

test('the end of the first process is told from then on', { skip }, async () => {
  const [child, other] = [await startProcess(), await startProcess()];
  enter('ending', child.pid ?? 0);
  enter('living', other.pid ?? 0);
  child.kill('SIGKILL');
  await once(child, 'exit');
  for (let again = 0; again < 3; again += 1) assert.deepEqual(told(), [['ending', true]]);
  sweep.leave('ending');
  assert.deepEqual(told(), []);
});

test('more ends at once than the kernel tells in one call, and none is left out', { skip }, async () => {
  const child = await startProcess();
  const ids = Array.from({ length: 600 }, (_, at) => `c${at}`);
  for (const id of ids) enter(id, child.pid ?? 0);
  assert.deepEqual([told(), sweep.comparedCount], [[], 600]);
  child.kill('SIGKILL');
  await once(child, 'exit');
  assert.deepEqual(
    told(),
    ids.map((id) => [id, true]),
  );
});

test('slots are used again, and what is longer than a slot is not compared', { skip }, async () => {
  const { pid = 0 } = await startProcess();
  for (let at = 0; at < 100; at += 1) enter(`c${at}`, pid);
  const { folder: own } = enter('last', pid);
  for (let at = 0; at < 100; at += 2) sweep.leave(`c${at}`);
  for (let at = 0; at < 60; at += 1) enter(`d${at}`, pid);
  assert.deepEqual([told(), sweep.comparedCount], [[], 111]);
  writeFileSync(join(own, 'cgroup.procs'), '1\n');
  assert.deepEqual(told(), [['last', false]]);
  sweep.expect('last', Buffer.from('1234567\n'.repeat(65)));
  assert.deepEqual([told(), sweep.isCompared('last'), sweep.comparedCount], [[], false, 110]);
  sweep.expect('nobody', Buffer.from(PROCS));
  sweep.leave('nobody');
  assert.equal(sweep.comparedCount, 110);
});

test('one that cannot be read is told, and takes nothing from the others', { skip }, async () => {
  const { pid = 0 } = await startProcess();
  enter('good', pid);
  const bad = hold(pid);
  const descriptors = Int32Array.from(bad.descriptors);
  descriptors[3] = bad.descriptors[2] ?? -1;
  sweep.enter('bad', descriptors);
  sweep.expect('bad', Buffer.from(PROCS));
  assert.deepEqual(told(), [['bad', true]]);
});

test('one that cannot be held takes no slot, and nothing is open where nothing is held', { skip }, async () => {
  const { pid = 0 } = await startProcess();
  const one = hold(pid);
  const open = () => readdirSync('/proc/self/fd').length;
  const before = open();
  sweep.enter('one', one.descriptors);
  assert.equal(open(), before + 1);
  assert.throws(() => sweep.enter('none', Int32Array.of(-1, -1, -1, -1)), { code: 'EBADF' });
  sweep.leave('one');
  assert.equal(open(), before);
  assert.deepEqual(told(), []);
});
