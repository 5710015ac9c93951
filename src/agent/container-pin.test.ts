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
import { Proc } from './proc.ts';

/**
 * `sleep`: does nothing. `children`: has a child, and a new one whenever it ends. On the host: `mount PID PATH` mounts a tmpfs
 * among the mounts of a process.
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
    await assert.rejects(look(), { code: 'agent.engine.unavailable' });
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
