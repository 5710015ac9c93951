import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { buildNative } from '../../scripts/build-native.ts';
import { parseCgroup } from '../container/cgroup.ts';
import type { ProcessStatus } from '../container/process-status.ts';
import { decodeContainer } from '../container/record.ts';
import type { Container } from '../proto/lacre/v1/record_pb.ts';
import { ContainerWatch } from './container-watch.ts';
import { loadNative } from './native.ts';
import { openPodman } from './podman.ts';
import { BED_IMAGE, bedMissing, makePodmanBed, type PodmanBed } from './podman-bed.ts';
import type { ContainerSource } from './podman-source.ts';
import { Proc } from './proc.ts';

/**
 * `sleep`: does nothing. `children`: has a child, and a new one whenever it ends. On the host: `mount PID PATH` mounts a tmpfs
 * among the mounts of a process, `remount PID PATH` makes it read-only in a copy of these mounts.
 */
const PROGRAM = `
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv) {
  if (argc > 3 && !strcmp(argv[1], "mount")) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%s/ns/mnt", argv[2]);
    return setns(open(path, O_RDONLY), CLONE_NEWNS) || mount("none", argv[3], "tmpfs", 0, 0);
  }
  if (argc > 3 && !strcmp(argv[1], "remount")) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%s/ns/mnt", argv[2]);
    if (setns(open(path, O_RDONLY), CLONE_NEWNS) || unshare(CLONE_NEWNS)) return 1;
    return mount("none", argv[3], 0, MS_REMOUNT | MS_RDONLY, 0);
  }
  while (argc > 1 && !strcmp(argv[1], "children")) {
    if (fork() == 0) {
      usleep(300000);
      _exit(0);
    }
    wait(0);
  }
  for (;;) pause();
}
`;

const skip = bedMissing() ?? false;

describe('containers that are held between two looks', { skip }, () => {
  let bed: PodmanBed;
  let watch: ContainerWatch;
  let proc: Proc;
  /** Files that were read anew of any process since the last call. */
  let reads: string[] = [];

  before(async () => {
    buildNative();
    bed = await makePodmanBed(PROGRAM);
    proc = bed.proc;
    for (const file of ['mountInfo', 'status', 'uidMap', 'namespaces'] as const) {
      const read = proc[file].bind(proc) as (pid: number) => never;
      proc[file] = (pid: number) => {
        reads.push(file);
        return read(pid);
      };
    }
    watch = new ContainerWatch({ source: openPodman(bed.place), proc, native: loadNative() });
  });

  after(async () => {
    await watch?.stop();
    bed?.close();
  });

  const look = async (): Promise<string[]> => {
    reads = [];
    await watch.look();
    return reads;
  };
  const claimOf = (id: string): Container =>
    decodeContainer(watch.containers.get(id)?.bytes ?? assert.fail('it was not seen')).claim;
  const held = () => readdirSync('/proc/self/fd').length;

  test('nothing is read again of one that is as it was, at a look or when it is asked for', async () => {
    bed.run('first', 6, BED_IMAGE, 'sleep');
    await look();
    const descriptors = held();
    const id = bed.run('still', 0, BED_IMAGE, 'sleep');
    assert.ok((await look()).length >= 4);
    const before = watch.containers.get(id);
    const version = watch.version;
    assert.deepEqual(await look(), []);
    assert.equal((await watch.refresh(id))?.bytes, before?.bytes);
    assert.deepEqual([reads, watch.version], [[], version]);
    assert.equal(held(), descriptors + 4, 'the first process, its mounts, its cgroup');
    bed.remove('still');
    await look();
    assert.equal(watch.containers.has(id), false);
    assert.equal(held(), descriptors, 'nothing of it is held any more');
    bed.remove('first');
  });

  test('a file system that was made read-only from elsewhere is seen within a minute', async (t) => {
    const id = bed.run('remounted', 7, BED_IMAGE, 'sleep');
    await look();
    const { initPid = 0 } = watch.containers.get(id) ?? {};
    const app = (...args: string[]) => spawnSync(join(bed.folder, 'app'), args).status;
    assert.equal(app('mount', String(initPid), '/tmp'), 0);
    await look();
    const options = () => claimOf(id).mounts.find(({ target }) => target === '/tmp')?.superOptions ?? '';
    assert.match(options(), /^rw/);
    assert.equal(app('remount', String(initPid), '/tmp'), 0);
    assert.deepEqual(await look(), [], 'the kernel tells nobody');
    const now = performance.now.bind(performance);
    t.mock.method(performance, 'now', () => now() + 61_000);
    assert.ok((await look()).includes('mountInfo'));
    assert.match(options(), /^ro/);
    bed.remove('remounted');
  });

  test('where no process was made on the node, none is looked for, but each minute', async (t) => {
    const id = bed.run('quiet', 11, BED_IMAGE, 'sleep');
    await look();
    const now = performance.now.bind(performance);
    let [pid, laterMs] = [1, 0];
    t.mock.method(performance, 'now', () => now() + laterMs);
    t.mock.method(proc, 'lastPid', () => pid);
    await look();
    bed.podman('exec', '-d', 'quiet', '/app', 'sleep');
    laterMs = 9_000;
    assert.ok((await look()).includes('namespaces'), 'a runtime may have made it before, and moved it now');
    assert.equal(claimOf(id).execSessions, 1);
    bed.remove('quiet');

    const other = bed.run('quieter', 12, BED_IMAGE, 'sleep');
    await look();
    laterMs = 20_000;
    bed.podman('exec', '-d', 'quieter', '/app', 'sleep');
    assert.deepEqual(await look(), []);
    pid = 2;
    assert.ok((await look()).includes('namespaces'));
    assert.equal(claimOf(other).execSessions, 1);
    bed.remove('quieter');

    const last = bed.run('quietest', 13, BED_IMAGE, 'sleep');
    await look();
    laterMs = 40_000;
    bed.podman('exec', '-d', 'quietest', '/app', 'sleep');
    assert.deepEqual(await look(), []);
    laterMs = 101_000;
    await look();
    assert.equal(claimOf(last).execSessions, 1);
    bed.remove('quietest');
  });

  test('everything is read again after a while, though nothing has changed', async (t) => {
    bed.run('old', 8, BED_IMAGE, 'sleep');
    await look();
    assert.deepEqual(await look(), []);
    const now = performance.now.bind(performance);
    let later = 61_000;
    t.mock.method(performance, 'now', () => now() + later);
    assert.deepEqual(await look(), [], 'its mounts are as they were');
    later = 661_000;
    assert.ok((await look()).includes('namespaces'));
    bed.remove('old');
  });

  test('looks by themselves list nothing again and read only what is new', async () => {
    const source = openPodman(bed.place);
    let lists = 0;
    const counted: ContainerSource = {
      name: source.name,
      isUnchanged: () => source.isUnchanged?.() === true,
      list: (isAlive) => {
        lists += 1;
        return source.list(isAlive);
      },
    };
    const native = loadNative();
    const ticking = new ContainerWatch({ source: counted, proc, native, intervalMs: 20 });
    const id = bed.run('ticking', 9, BED_IMAGE, 'children');
    await ticking.start();
    await sleep(200);
    lists = 0;
    reads = [];
    await sleep(1_000);
    assert.equal(lists, 0);
    assert.ok(reads.length > 0 && reads.every((file) => file === 'status'), `read: ${reads}`);
    const seen = async (condition: () => boolean, otherwise: string) => {
      for (let tries = 0; !condition(); tries += 1) {
        assert.ok(tries < 200, otherwise);
        await sleep(10);
      }
    };
    const { initPid = 0 } = ticking.containers.get(id) ?? {};
    assert.equal(spawnSync(join(bed.folder, 'app'), ['mount', String(initPid), '/tmp']).status, 0);
    const mounts = () => decodeContainer(ticking.containers.get(id)?.bytes ?? assert.fail()).claim.mounts;
    await seen(() => mounts().some(({ target }) => target === '/tmp'), 'the mount is not seen');
    const added = bed.run('added', 10, BED_IMAGE, 'sleep');
    await seen(() => ticking.containers.has(added), 'a new container is not seen');
    bed.remove('ticking');
    await seen(() => !ticking.containers.has(id), 'a container that is gone is still seen');
    bed.remove('added');
    await ticking.stop();
  });

  test('a mount that comes later is seen at the next look', async () => {
    const id = bed.run('mounted', 1, BED_IMAGE, 'sleep');
    await look();
    assert.equal(
      claimOf(id).mounts.some(({ target }) => target === '/tmp'),
      false,
    );
    const { initPid = 0 } = watch.containers.get(id) ?? {};
    const { status, stderr } = spawnSync(join(bed.folder, 'app'), ['mount', String(initPid), '/tmp']);
    assert.equal(status, 0, String(stderr));
    assert.ok((await look()).includes('mountInfo'));
    assert.equal(claimOf(id).mounts.find(({ target }) => target === '/tmp')?.type, 'tmpfs');
    bed.remove('mounted');
  });

  test('a change is not forgotten where the look at it fails', async () => {
    const id = bed.run('failing', 2, BED_IMAGE, 'sleep');
    await look();
    const { initPid = 0 } = watch.containers.get(id) ?? {};
    assert.equal(spawnSync(join(bed.folder, 'app'), ['mount', String(initPid), '/tmp']).status, 0);
    const { uidMap } = proc;
    proc.uidMap = () => {
      throw Object.assign(new Error('EACCES'), { code: 'EACCES' });
    };
    const { version } = watch;
    await assert.rejects(look(), { code: 'agent.engine.unavailable' });
    assert.deepEqual([watch.containers.has(id), watch.version], [false, version + 1], 'it is told as gone');
    proc.uidMap = uidMap;
    await look();
    assert.equal(claimOf(id).mounts.find(({ target }) => target === '/tmp')?.type, 'tmpfs');
    bed.remove('failing');
  });

  test('of a new process of its own only that one is read; one that came from outside has all of it read', async () => {
    const id = bed.run('family', 3, BED_IMAGE, 'children');
    await look();
    const before = watch.containers.get(id)?.bytes;
    for (let looks = 0; looks < 8; looks += 1, await sleep(100)) {
      const read = await look();
      assert.ok(read.every((file) => file === 'status') && read.length <= 2, `read: ${read}`);
    }
    assert.equal(watch.containers.get(id)?.bytes, before, 'they have nothing that the first has not');
    bed.podman('exec', '-d', 'family', '/app', 'sleep');
    assert.ok((await look()).includes('namespaces'));
    assert.equal(claimOf(id).execSessions, 1);
    assert.ok((await look()).includes('namespaces'), 'until it is gone');
    bed.remove('family');
  });

  test('a process that asks for its container is not read once more; one of another container says nothing', async () => {
    const id = bed.run('asking', 7, BED_IMAGE, 'children');
    await look();
    const { initPid = 0 } = watch.containers.get(id) ?? {};
    const { path = '' } = parseCgroup(proc.cgroupText(initPid)) ?? {};
    const nextChild = async (former: number) => {
      for (;;) {
        const child = proc.processesOf(path, 9).find((pid) => pid !== initPid && pid !== former);
        if (child !== undefined) return proc.status(child);
        await sleep(10);
      }
    };
    const readAt = async (process: ProcessStatus) => {
      reads = [];
      const { parents } = (await watch.refresh(id, process)) ?? assert.fail('it is gone');
      return { reads: [...reads], parents: [...parents.keys()] };
    };
    const first = await nextChild(0);
    await readAt(first);
    const second = await nextChild(first.pid);
    assert.deepEqual(await readAt(second), { reads: [], parents: [initPid, second.pid] });
    const third = await nextChild(second.pid);
    const foreign = proc.status(process.pid);
    assert.deepEqual(await readAt(foreign), { reads: ['status'], parents: [initPid, third.pid] });
    bed.remove('asking');
  });

  test('one that was started again is not taken for the former', async () => {
    const id = bed.run('again', 4, BED_IMAGE, 'sleep');
    await look();
    const { initStartTicks } = watch.containers.get(id) ?? {};
    bed.podman('restart', '-t', '0', 'again');
    assert.ok((await look()).includes('mountInfo'));
    assert.notEqual(watch.containers.get(id)?.initStartTicks, initStartTicks);
    bed.remove('again');
  });

  test('without descriptors to spare everything is read each time', async () => {
    const id = bed.run('poor', 5, BED_IMAGE, 'sleep');
    const few = new Proc();
    few.descriptorLimit = () => 31;
    few.cgroupFolder = bed.proc.cgroupFolder.bind(bed.proc);
    const poor = new ContainerWatch({ source: openPodman(bed.place), proc: few, native: loadNative() });
    const descriptors = held();
    await poor.look();
    assert.deepEqual(poor.containers.get(id)?.bytes !== undefined, true);
    assert.equal(held(), descriptors);
    await poor.stop();
    bed.remove('poor');
  });
});

test('the limit of descriptors is the process’s own', () => {
  const limit = new Proc().descriptorLimit();
  const { stdout } = spawnSync('sh', ['-c', 'ulimit -Sn'], { encoding: 'utf8' });
  assert.equal(limit, Number(stdout));
});

test('the last pid is another after each process', () => {
  const proc = new Proc();
  const before = proc.lastPid();
  assert.ok(before !== undefined && before > 0);
  const { pid } = spawnSync('true');
  const last = proc.lastPid();
  assert.ok(last !== undefined && last >= pid, `${last} after ${pid}`);
  assert.notEqual(last, before);
  assert.equal(new Proc({ root: '/proc/self/fd' }).lastPid(), undefined);
});
