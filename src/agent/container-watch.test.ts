import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { buildNative } from '../../scripts/build-native.ts';
import { decodeContainer, decodeRecord } from '../container/record.ts';
import { isLacreError, type LacreError } from '../lacre-error.ts';
import { type Container, EnvironmentName_Relation as Relation } from '../proto/lacre/v1/record_pb.ts';
import { type Caller, identifyCaller, PinnedPeer } from './caller.ts';
import { type ContainerDiff, ContainerWatch } from './container-watch.ts';
import { loadNative, type Native } from './native.ts';
import { openPodman } from './podman.ts';
import { BED_IMAGE, BED_UID_BASE, bedMissing, makePodmanBed, type PodmanBed } from './podman-bed.ts';
import { PodmanFiles } from './podman-files.ts';
import { Proc } from './proc.ts';

/**
 * `sleep`: does nothing. `connect PATH`: connects and waits. `fork PATH`: a child of its own connects. `leave PATH`: a
 * child connects and ends, and its parent keeps the socket.
 */
const PROGRAM = `
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
static int open_to(const char *path) {
  struct sockaddr_un to = {.sun_family = AF_UNIX};
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  strncpy(to.sun_path, path, sizeof to.sun_path - 1);
  return connect(fd, (struct sockaddr *)&to, sizeof to);
}
int main(int argc, char **argv) {
  if (argc > 2 && !strcmp(argv[1], "connect") && open_to(argv[2])) return 1;
  if (argc > 2 && !strcmp(argv[1], "fork") && fork() == 0 && open_to(argv[2])) return 1;
  if (argc > 2 && !strcmp(argv[1], "leave")) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    strncpy(to.sun_path, argv[2], sizeof to.sun_path - 1);
    if (fork() == 0) _exit(connect(fd, (struct sockaddr *)&to, sizeof to) != 0);
    wait(0);
  }
  for (;;) pause();
}
`;

const skip = bedMissing() ?? false;

describe('real containers of podman', { skip }, () => {
  let bed: PodmanBed;
  let native: Native;
  let watch: ContainerWatch;
  let server: Server;
  const diffs: ContainerDiff[] = [];
  const peers: PinnedPeer[] = [];
  const connections: Socket[] = [];

  before(async () => {
    buildNative();
    native = loadNative();
    bed = await makePodmanBed(PROGRAM);
    mkdirSync(join(bed.folder, 'socket'), { mode: 0o755 });
    server = createServer().listen({ path: join(bed.folder, 'socket/agent'), writableAll: true });
    server.on('connection', (socket: Socket) => {
      connections.push(socket);
      socket.on('error', () => undefined);
    });
    await once(server, 'listening');
    watch = watching(openPodman(bed.place), (diff) => diffs.push(diff));
  });

  after(async () => {
    for (const peer of peers) peer.close();
    for (const socket of connections) socket.destroy();
    server?.close();
    await watch?.stop();
    bed?.close();
  });

  function watching(source: ReturnType<typeof openPodman>, onDiff: (diff: ContainerDiff) => void): ContainerWatch {
    return new ContainerWatch({ source, proc: bed.proc, native, onDiff, intervalMs: 100 });
  }

  function claimOf(id: string): Container {
    const seen = watch.containers.get(id);
    assert.ok(seen, 'the container was seen');
    const { claim, sha256 } = decodeContainer(seen.bytes);
    assert.deepEqual(sha256, seen.sha256);
    return claim;
  }

  /** The peer of the next connection. */
  async function nextPeer(start: () => void): Promise<PinnedPeer> {
    const connected = once(server, 'connection') as Promise<[Socket & { _handle: { fd: number } }]>;
    start();
    const [socket] = await connected;
    const peer = PinnedPeer.open(socket._handle.fd, native);
    peers.push(peer);
    return peer;
  }

  const identify = async (peer: PinnedPeer): Promise<Caller> =>
    identifyCaller(peer, { proc: bed.proc, refresh: (id) => watch.refresh(id) });

  const socketMount = () => ['-v', `${join(bed.folder, 'socket')}:/agent`];

  test('a container as it is: by the kernel, by podman’s files, and by no other way', async () => {
    const volume = join(bed.folder, 'volume');
    mkdirSync(volume);
    const options = ['--read-only', '-v', `${volume}:/data:ro`, '-e', 'LEVEL=2', '-e', 'MORE=1', '--workdir', '/tmp'];
    const id = bed.run('plain', 0, ...options, '--user', '33:44', BED_IMAGE, 'sleep', 'x');
    await watch.look();
    const claim = claimOf(id);
    const image = JSON.parse(bed.podman('image', 'inspect', BED_IMAGE))[0];
    assert.equal(claim.name, 'plain');
    assert.equal(claim.imageName, BED_IMAGE);
    assert.equal(claim.manifestDigest, image.Digest);
    assert.equal(claim.configDigest, `sha256:${image.Id}`);
    assert.deepEqual(claim.argv, ['/app', 'sleep', 'x']);
    assert.deepEqual([claim.cwd, claim.uid, claim.gid], ['/tmp', 33, 44]);
    const environment = Object.fromEntries(claim.environment.map(({ name, relation }) => [name, relation]));
    assert.equal(environment['LEVEL'], Relation.DIFFERS);
    assert.equal(environment['KEPT'], Relation.EQUAL);
    assert.equal(environment['MORE'], Relation.ADDED);
    assert.deepEqual(decodeContainer(watch.containers.get(id)?.bytes ?? new Uint8Array()).range, {
      base: BED_UID_BASE,
      length: 1024,
    });
    assert.equal(claim.rootReadOnly, true);
    assert.equal(claim.seccompMode, 2);
    assert.equal(claim.seccompDeniesUserns, false, 'the stock profile allows user namespaces');
    assert.equal(claim.privileged, false);
    assert.deepEqual(claim.hostNamespaces, []);
    assert.equal(claim.execSessions, 0);
    assert.deepEqual(
      claim.labels.map(({ name, value }) => [name, value]),
      [['of', 'image']],
    );
    const kinds = new Map(claim.mounts.map((mount) => [mount.target, mount.sourceKind]));
    assert.deepEqual(
      ['/', '/data', '/proc', '/sys', '/tmp', '/dev/null', '/etc/hosts', '/dev/shm'].map((target) => kinds.get(target)),
      ['root', 'bind', 'kernel', 'kernel', 'tmpfs', 'engine', 'engine', 'engine'],
    );
    assert.doesNotMatch(Buffer.from(watch.containers.get(id)?.bytes ?? []).toString('latin1'), /yes/, 'no value left');
    bed.remove('plain');
  });

  test('what is given away is told: engine sockets, storage, host namespaces, privileges', async () => {
    const id = bed.run(
      'open',
      1,
      '-v',
      '/run:/host-run',
      '-v',
      `${bed.place.storage}:/s`,
      '--uts=host',
      BED_IMAGE,
      'sleep',
    );
    const powerful = bed
      .podman(
        'run',
        '-d',
        '--name',
        'powerful',
        '--privileged',
        '--network=none',
        '--pull=never',
        '--ulimit',
        'nofile=1024:1024',
        '--ulimit',
        'nproc=1024:1024',
        '--pids-limit=-1',
        BED_IMAGE,
        'sleep',
      )
      .trim();
    await watch.look();
    const claim = claimOf(id);
    const kinds = new Map(claim.mounts.map((mount) => [mount.target, mount.sourceKind]));
    assert.deepEqual([kinds.get('/host-run'), kinds.get('/s')], ['engine-socket', 'engine-socket']);
    assert.ok(claim.hostNamespaces.includes('uts'));
    const privileged = claimOf(powerful);
    assert.equal(privileged.privileged, true);
    assert.ok(privileged.hostNamespaces.includes('user'));
    assert.equal(privileged.seccompSha256.length, 0);
    bed.remove('open', 'powerful');
  });

  test('the watch tells what is new, what changed, what is gone; each once', async () => {
    await watch.look();
    diffs.length = 0;
    const id = bed.run('watched', 2, BED_IMAGE, 'sleep');
    await watch.start();
    await until(() => diffs.length > 0);
    const first = claimOf(id);
    assert.equal(first.execSessions, 0);
    bed.podman('exec', '-d', 'watched', '/app', 'sleep');
    await until(() => diffs.length > 1);
    assert.equal(claimOf(id).execSessions, 1);
    bed.remove('watched');
    await until(() => diffs.some(({ gone }) => gone.includes(id)));
    const told = diffs.length;
    await sleep(400);
    assert.equal(diffs.length, told);
    await watch.stop();
  });

  test('a privileged exec shows in what the container’s processes can do', async () => {
    const id = bed.run('execd', 3, BED_IMAGE, 'sleep');
    await watch.look();
    const before = claimOf(id);
    assert.equal(before.capabilities & (1n << 21n), 0n);
    bed.podman('exec', '-d', '--privileged', 'execd', '/app', 'sleep');
    await sleep(1300);
    await watch.look();
    assert.notEqual(claimOf(id).boundingCapabilities & (1n << 21n), 0n);
    bed.remove('execd');
  });

  test('a caller that the container started itself, in person or by a child', async () => {
    for (const [n, how] of ['connect', 'fork'].entries()) {
      let id = '';
      const peer = await nextPeer(() => {
        id = bed.run(how, 4 + n, ...socketMount(), '--user', '7', BED_IMAGE, how, '/agent/agent');
      });
      const { container, bytes } = await identify(peer);
      const { claim: record } = decodeRecord(bytes);
      assert.equal(container.id, id);
      assert.deepEqual(record.containerSha256, watch.containers.get(id)?.sha256);
      assert.deepEqual(
        [record.uid, record.executable, record.isInitFamily, record.joinedByExec],
        [BED_UID_BASE + (4 + n) * 1024 + 7, '/app', true, false],
      );
      assert.deepEqual((await identify(peer)).bytes, bytes, 'the same process has the same record');
      bed.remove(how);
      await assert.rejects(identify(peer), { code: 'agent.caller.ended' });
    }
  });

  test('a caller that was brought in by exec', async () => {
    bed.run('host', 6, ...socketMount(), BED_IMAGE, 'sleep');
    for (const how of ['connect', 'fork']) {
      const peer = await nextPeer(() => bed.podman('exec', '-d', 'host', '/app', how, '/agent/agent'));
      const { claim: record } = decodeRecord((await identify(peer)).bytes);
      assert.deepEqual([record.isInitFamily, record.joinedByExec], [false, true]);
    }
    bed.remove('host');
  });

  test('a socket that outlived the process which connected is nobody’s', async () => {
    // Without SO_PEERPIDFD the peer may be gone already when it is to be pinned.
    const late = async () => {
      const peer = await nextPeer(() => bed.run('leaver', 7, ...socketMount(), BED_IMAGE, 'leave', '/agent/agent'));
      await sleep(200);
      return identify(peer);
    };
    await assert.rejects(late(), { code: 'agent.caller.ended' });
    bed.remove('leaver');
  });

  test('a caller on the host is in no container', async () => {
    const peer = await nextPeer(() => connections.push(connect(join(bed.folder, 'socket/agent'))));
    await assert.rejects(identify(peer), { code: 'agent.caller.not-in-container' });
  });

  test('a container that its engine does not know is no caller’s', async () => {
    const peer = await nextPeer(() => bed.run('unknown', 8, ...socketMount(), BED_IMAGE, 'connect', '/agent/agent'));
    const elsewhere = watching(new PodmanFiles({ storage: bed.folder, run: bed.folder }), () => undefined);
    const refresh = (id: string) => elsewhere.refresh(id);
    await assert.rejects(async () => identifyCaller(peer, { proc: bed.proc, refresh }), {
      code: 'agent.caller.engine',
    });
    const absent = watching(new PodmanFiles({ storage: '/nonexistent', run: '/nonexistent' }), () => undefined);
    await assert.rejects(
      async () => identifyCaller(peer, { proc: bed.proc, refresh: (id) => absent.refresh(id) }),
      (error: LacreError) => isLacreError(error, 'agent.caller.engine') && /nonexistent/.test(error.message),
    );
    bed.remove('unknown');
  });

  test('podman’s socket tells the same, and labels and pods besides', async () => {
    const id = bed.run('labelled', 9, '--label', 'of=caller', BED_IMAGE, 'sleep');
    const socket = join(bed.folder, 'api.sock');
    await bed.serve(socket);
    const rest = new ContainerWatch({
      source: openPodman({ ...bed.place, socket }),
      proc: bed.proc,
    });
    await rest.look();
    await watch.look();
    const byFiles = claimOf(id);
    const bySocket = decodeContainer(rest.containers.get(id)?.bytes ?? new Uint8Array()).claim;
    assert.deepEqual(
      bySocket.labels.map(({ name, value }) => [name, value]),
      [['of', 'caller']],
    );
    assert.deepEqual({ ...bySocket, labels: [] }, { ...byFiles, labels: [] });
    await rest.look();
    bed.remove('labelled');
    await rest.look();
    assert.equal(rest.containers.has(id), false);
  });

  test('a restarted container is another one, under the same id', async () => {
    const id = bed.run('again', 10, BED_IMAGE, 'sleep');
    await watch.look();
    const first = claimOf(id).initStartTicks;
    bed.podman('restart', '-t', '0', 'again');
    await watch.look();
    assert.notEqual(claimOf(id).initStartTicks, first);
    bed.remove('again');
  });

  test('what was refreshed a moment ago is left to the next look; a look that is asked for leaves nothing', async () => {
    const id = bed.run('refreshed', 12, BED_IMAGE, 'sleep');
    let [reads, looks, refreshes] = [0, 0, 0];
    const proc = new Proc();
    proc.mountInfo = (pid) => {
      if (pid === watch.containers.get(id)?.initPid) reads += 1;
      return bed.proc.mountInfo(pid);
    };
    const podman = openPodman(bed.place);
    const list = () => {
      looks += 1;
      return podman.list();
    };
    const watch = new ContainerWatch({ source: { name: podman.name, list }, proc, intervalMs: 400 });
    await watch.start();
    [reads, looks] = [0, 0];
    for (; looks < 4; refreshes += 1, await sleep(20)) await watch.refresh(id);
    assert.ok(reads - refreshes < looks, `${reads} reads for ${refreshes} refreshes and ${looks} looks`);
    const before = reads;
    await watch.look();
    assert.ok(reads > before, 'asked for');
    const asked = reads;
    await until(() => reads > asked);
    await watch.stop();
    bed.remove('refreshed');
  });

  test('files that a crash or an attacker left behind end in one error, and nothing is forgotten', async () => {
    const id = bed.run('kept', 11, BED_IMAGE, 'sleep');
    const faults: (LacreError | undefined)[] = [];
    const options = { source: openPodman(bed.place), proc: bed.proc, intervalMs: 20 };
    const careful = new ContainerWatch({ ...options, onFault: (fault) => faults.push(fault) });
    await careful.start();
    assert.ok(careful.containers.has(id));
    const list = join(bed.place.storage, 'overlay-containers/containers.json');
    const good = readFileSync(list);
    writeFileSync(list, '[{"id":');
    await until(() => faults.length > 0);
    await sleep(100);
    assert.deepEqual([faults.length, faults[0]?.code], [1, 'agent.engine.unavailable']);
    assert.ok(careful.containers.has(id));
    writeFileSync(list, good);
    await until(() => faults.length > 1);
    assert.equal(faults[1], undefined);
    await careful.stop();
    bed.remove('kept');
  });
});

async function until(condition: () => boolean): Promise<void> {
  for (let waited = 0; !condition(); waited += 20) {
    assert.ok(waited < 10_000, 'it never came');
    await sleep(20);
  }
}
