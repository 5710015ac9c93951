import assert from 'node:assert/strict';
import { cpSync, mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { PodmanFiles } from './podman-files.ts';

const ID = '98c0069c6886042182378665d7d838ba3c74a72613f04eb036988a667b063fa8';
const IMAGE = '2b265c999f27850d950ed15a3abae3dad7076db3892b46a677b1d656cbdc9e25';
const MANIFEST = 'sha256:02e1dce369cb6073a59edb9f33428f2dbad41bf17376d22b252204a1f28d1097';
const CONFIG = fileURLToPath(new URL('../../vectors/container/sealed-6.12-web.config.json', import.meta.url));
let folder: string;
let source: PodmanFiles;

const containers = (entries: object[]) => write('storage/overlay-containers/containers.json', JSON.stringify(entries));
const entry = (over: object = {}) => ({
  id: ID,
  names: ['web'],
  image: IMAGE,
  metadata: JSON.stringify({ 'image-name': 'localhost/app:1', name: 'web' }),
  ...over,
});
const pidfile = (pid: string) => write(`run/overlay-containers/${ID}/userdata/pidfile`, pid);
let written = 1_700_000_000;

function write(path: string, text: string): void {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), text);
  // Each writing at a time of its own, however coarse the file system's clock.
  utimesSync(join(folder, path), written, written);
  written += 1;
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lacre-podman-'));
  const image = `=${Buffer.from(`sha256:${IMAGE}`).toString('base64')}`;
  containers([entry()]);
  write('storage/overlay-images/images.json', JSON.stringify([{ id: IMAGE, digest: MANIFEST }]));
  write(`storage/overlay-images/${IMAGE}/${image}`, JSON.stringify({ config: { Env: ['A=1'], Labels: { x: 'y' } } }));
  write(`storage/overlay-containers/${ID}/userdata/config.json`, '');
  cpSync(CONFIG, join(folder, `storage/overlay-containers/${ID}/userdata/config.json`));
  pidfile('177\n');
  source = new PodmanFiles({ storage: join(folder, 'storage'), run: join(folder, 'run') });
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

const unavailable = (message: RegExp) => ({ code: 'agent.engine.unavailable', message });

test('a running container, by the files of a real one', async () => {
  const [container, ...more] = await source.list();
  assert.ok(container);
  assert.equal(more.length, 0);
  const { config, ground, ...rest } = container;
  assert.deepEqual(rest, {
    id: ID,
    engine: 'podman',
    name: 'web',
    sandboxId: '',
    initPid: 177,
    imageName: 'localhost/app:1',
    manifestDigest: MANIFEST,
    configDigest: `sha256:${IMAGE}`,
    imageEnvironment: ['A=1'],
    labels: new Map([['x', 'y']]),
  });
  assert.ok(ground.own.every((path) => path.endsWith(`/overlay-containers/${ID}/userdata`)));
  assert.deepEqual(config.argv, ['/bin/app', 'sleep', '1000']);
  assert.equal(config.rootReadOnly, true);
  assert.equal(config.privileged, false);
  assert.equal(config.seccomp?.deniesUserns, false);
});

test('what has not changed is the same object; what has is read anew', async () => {
  const [first] = await source.list();
  assert.equal((await source.list())[0], first);
  pidfile('4242');
  const [second] = await source.list();
  assert.notEqual(second, first);
  assert.equal(second?.initPid, 4242);
  write('storage/overlay-images/images.json', '[]');
  assert.equal((await source.list())[0]?.manifestDigest, '');
});

test('newer podman keeps transient containers in a list of their own', async () => {
  containers([]);
  write('storage/overlay-containers/volatile-containers.json', JSON.stringify([entry()]));
  assert.equal((await source.list()).length, 1);
});

test('containers that do not run, or are half made, are left out', async () => {
  for (const pid of ['', '0', '-1', 'x', '99999999999']) {
    pidfile(pid);
    assert.deepEqual(await source.list(), [], JSON.stringify(pid));
  }
  pidfile('177');
  rmSync(join(folder, `storage/overlay-containers/${ID}/userdata/config.json`));
  assert.deepEqual(await source.list(), []);
  containers([entry({ id: '../../../../etc' })]);
  assert.deepEqual(await source.list(), []);
});

test('an image that is gone leaves its digest empty, so nothing can be approved for it', async () => {
  containers([entry({ image: '../../x' })]);
  const [container] = await source.list();
  assert.deepEqual([container?.manifestDigest, container?.configDigest, container?.imageEnvironment], ['', '', []]);
});

test('a podman that never ran has no containers; one that is not there is an error', async () => {
  rmSync(join(folder, 'storage/overlay-containers'), { recursive: true });
  assert.deepEqual(await source.list(), []);
  rmSync(join(folder, 'storage'), { recursive: true });
  await assert.rejects(source.list(), unavailable(/ENOENT/));
});

test('hostile and damaged files are one clear error', async () => {
  const path = 'storage/overlay-containers/containers.json';
  for (const text of ['', '{', '{}', '[1]', '[{"id":1}]', `[{"id":"${ID}","metadata":"["}]`]) {
    write(path, text);
    await assert.rejects(source.list(), unavailable(/containers\.json|container|id|metadata/), text);
  }
  write(path, JSON.stringify(Array.from({ length: 4097 }, (_, n) => entry({ id: n.toString(16).padStart(64, '0') }))));
  await assert.rejects(source.list(), unavailable(/4097/));
  containers([entry()]);
  const config = `storage/overlay-containers/${ID}/userdata/config.json`;
  for (const text of ['[]', '{"process":1}', '{"process":{"args":[1]}}', '{"process":{"args":[]},"mounts":[1]}']) {
    write(config, text);
    await assert.rejects(source.list(), unavailable(/./), text);
  }
  write(config, ' '.repeat(4 * 1024 * 1024 + 1));
  await assert.rejects(source.list(), unavailable(/longer than/));
});

test('a pod is known by its cgroup', async () => {
  const pod = 'd'.repeat(64);
  const config = { process: { args: [] }, linux: { cgroupsPath: '' } };
  const paths = [`/libpod_parent/${pod}/libpod-${ID}`, `machine-libpod_pod_${pod}.slice:libpod:${ID}`];
  for (const cgroupsPath of paths) {
    write(
      `storage/overlay-containers/${ID}/userdata/config.json`,
      JSON.stringify({ ...config, linux: { cgroupsPath } }),
    );
    pidfile('178');
    assert.equal((await source.list())[0]?.sandboxId, pod, cgroupsPath);
  }
});

describe('whether another list would tell the same', () => {
  const alive = () => true;
  const untilToldOf = async (): Promise<boolean> => {
    for (let tries = 0; tries < 100 && source.isUnchanged(); tries += 1) await sleep(10);
    return !source.isUnchanged();
  };

  test('not before the first list; then until a list of podman changes, and again', async () => {
    assert.equal(source.isUnchanged(), false);
    await source.list();
    await source.list(alive);
    await sleep(50);
    assert.equal(source.isUnchanged(), true);
    containers([entry(), entry({ id: ID.replace('9', 'a') })]);
    assert.equal(await untilToldOf(), true);
    await source.list(alive);
    assert.equal(source.isUnchanged(), true);
    write('storage/overlay-images/images.json', '[]');
    assert.equal(await untilToldOf(), true);
    const [container] = await source.list(alive);
    assert.equal(container?.manifestDigest, '');
  });

  test('of one that is not known to live, its first process’s file is looked at each time', async () => {
    rmSync(join(folder, `run/overlay-containers/${ID}/userdata/pidfile`));
    assert.deepEqual(await source.list(), []);
    assert.equal(source.isUnchanged(), true);
    pidfile('177');
    assert.equal(source.isUnchanged(), false);
    await source.list();
    assert.equal(source.isUnchanged(), true);
    pidfile('178');
    assert.equal(source.isUnchanged(), false);
    await source.list();
    await source.list(alive);
    pidfile('179');
    assert.equal(source.isUnchanged(), true, 'whoever asks knows that the process lives');
  });

  test('not while a container’s configuration has still to come', async () => {
    rmSync(join(folder, `storage/overlay-containers/${ID}/userdata/config.json`));
    assert.deepEqual(await source.list(), []);
    assert.equal(source.isUnchanged(), false);
  });

  test('not after a list that failed', async () => {
    await source.list();
    write('storage/overlay-images/images.json', '{');
    await assert.rejects(source.list());
    assert.equal(source.isUnchanged(), false);
  });

  test('at times it is listed nevertheless: not every file system tells of changes', async (t) => {
    await source.list();
    assert.equal(source.isUnchanged(), true);
    const now = performance.now();
    t.mock.method(performance, 'now', () => now + 10_000);
    assert.equal(source.isUnchanged(), false);
  });

  test('a container that lives is told from what was read before, as long as its entries are the same', async () => {
    const [first] = await source.list();
    rmSync(join(folder, `run/overlay-containers/${ID}`), { recursive: true });
    containers([entry()]);
    assert.equal((await source.list(alive))[0], first);
    containers([entry({ names: ['renamed'] })]);
    assert.deepEqual(await source.list(alive), []);
  });
});
