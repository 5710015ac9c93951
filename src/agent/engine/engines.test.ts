import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Client } from '@connectrpc/connect';
import { isLacreError } from '../../lacre-error.ts';
import { ImageService, NamespaceMode, RuntimeService } from '../../proto/cri/runtime_pb.ts';
import { type Container, EnvironmentName_Relation as Relation } from '../../proto/lacre/v1/record_pb.ts';
import { UnixClient } from '../../unix-client.ts';
import { ContainerWatch } from '../container-watch.ts';
import type { ContainerSource } from '../podman-source.ts';
import { CriEngine } from './cri.ts';
import { DockerEngine } from './docker.ts';
import { BED_IMAGE, type EngineBed, engineBedMissing, makeEngineBed } from './engine-bed.ts';
import { Engines, openEngines } from './engines.ts';

const skip = engineBedMissing() ?? false;
const NO_LIMITS = ['--network', 'none', '--ulimit', 'nofile=1024:1024'];

describe('real containers of Docker and containerd', { skip }, () => {
  let bed: EngineBed;
  let cri: UnixClient;
  let runtime: Client<typeof RuntimeService>;
  let podId = '';
  let containerId = '';

  before(async () => {
    bed = await makeEngineBed();
    cri = new UnixClient(bed.containerd.socket);
    runtime = cri.service(RuntimeService);
    const config = {
      metadata: { name: 'pod', uid: '0f9c7a1e-0d5c-4f6e-9d5e-4a1f6c0b7f11', namespace: 'default' },
      logDirectory: bed.folder,
      linux: { cgroupParent: '/lacre-bed', securityContext: { namespaceOptions: { network: NamespaceMode.NODE } } },
    };
    podId = (await runtime.runPodSandbox({ config })).podSandboxId;
    const image = { image: BED_IMAGE };
    const made = { metadata: { name: 'orders' }, image, labels: { tier: 'web' } };
    containerId = (await runtime.createContainer({ podSandboxId: podId, config: made, sandboxConfig: config }))
      .containerId;
    await runtime.startContainer({ containerId });
  });

  after(async () => {
    cri?.[Symbol.dispose]();
    await bed?.close();
  });

  /** The record of the one container that an engine has. */
  async function recordOf(watch: ContainerWatch): Promise<Container> {
    await watch.look();
    const [one, ...more] = watch.containers.values();
    assert.ok(one);
    assert.equal(more.length, 0);
    return one.container;
  }

  const watching = (source: ContainerSource) => new ContainerWatch({ source, proc: bed.proc });

  test('a container of Docker: its image by the digest of the configuration, its labels, its own mounts', async () => {
    const args = [
      '-l',
      'tier=web',
      '-e',
      'ADDED=1',
      '-v',
      'store:/data',
      '-v',
      `${bed.docker.data}/containers:/host`,
      BED_IMAGE,
      'serve',
    ];
    const id = bed.runDocker('run', '-d', '--name', 'web', ...NO_LIMITS, ...args).trim();
    const record = await recordOf(watching(new DockerEngine(bed.docker)));
    assert.partialDeepStrictEqual(record, {
      id,
      engine: 'docker',
      name: 'web',
      sandboxId: '',
      imageName: BED_IMAGE,
      manifestDigest: '',
      configDigest: bed.configDigest,
      argv: ['/app', 'serve'],
      privileged: false,
      rootReadOnly: false,
      seccompMode: 2,
    });
    assert.deepEqual(
      record.labels.map(({ name, value }) => [name, value]),
      [
        ['of', 'image'],
        ['tier', 'web'],
      ],
    );
    const relations = Object.fromEntries(record.environment.map(({ name, relation }) => [name, relation]));
    assert.equal(relations['LEVEL'], Relation.EQUAL);
    assert.equal(relations['ADDED'], Relation.ADDED);
    const kinds = Object.fromEntries(record.mounts.map(({ target, sourceKind }) => [target, sourceKind]));
    assert.partialDeepStrictEqual(kinds, {
      '/': 'root',
      '/etc/hosts': 'engine',
      '/data': 'volume',
      '/host': 'engine-socket',
    });
    bed.runDocker('rm', '-f', 'web');
  });

  test('a container of Docker that was started again is looked at anew, and one that ended is gone', async () => {
    const id = bed.runDocker('run', '-d', '--name', 'again', ...NO_LIMITS, BED_IMAGE).trim();
    const watch = watching(new DockerEngine(bed.docker));
    await watch.look();
    const before = watch.containers.get(id);
    bed.runDocker('restart', '-t', '0', 'again');
    await watch.look();
    const now = watch.containers.get(id);
    assert.ok(before && now);
    assert.notEqual(now.initPid, before.initPid);
    assert.notDeepEqual(now.sha256, before.sha256);
    bed.runDocker('rm', '-f', 'again');
    await watch.look();
    assert.equal(watch.containers.size, 0);
  });

  test('a container of containerd, as the kubelet makes them: its pod, image and labels', async () => {
    using engine = new CriEngine('containerd', bed.containerd);
    const record = await recordOf(watching(engine));
    const { image } = await cri.service(ImageService).imageStatus({ image: { image: BED_IMAGE } });
    assert.equal(image?.id, bed.configDigest, 'containerd knows the image by the same digest as Docker');
    assert.partialDeepStrictEqual(record, {
      id: containerId,
      engine: 'containerd',
      name: 'orders',
      sandboxId: podId,
      manifestDigest: '',
      configDigest: bed.configDigest,
      argv: ['/app'],
      privileged: false,
      hostNamespaces: ['net', 'user'],
    });
    assert.ok(record.labels.some(({ name, value }) => name === 'tier' && value === 'web'));
    const relations = Object.fromEntries(record.environment.map(({ name, relation }) => [name, relation]));
    assert.equal(relations['LEVEL'], Relation.EQUAL);
    const kinds = Object.fromEntries(record.mounts.map(({ target, sourceKind }) => [target, sourceKind]));
    assert.partialDeepStrictEqual(kinds, { '/': 'root', '/etc/hosts': 'engine', '/dev/shm': 'engine' });
  });

  test('what is same between two lists is the same object', async () => {
    using engine = new CriEngine('containerd', bed.containerd);
    const [first] = await engine.list();
    assert.ok(first);
    assert.equal((await engine.list())[0], first);
  });

  test('of several engines one that hangs keeps what it told, and takes nothing from the others', async () => {
    const socket = join(bed.folder, 'silent.sock');
    const silent = createServer().listen(socket);
    const docker = new DockerEngine({ ...bed.docker, socket });
    using containerd = new CriEngine('containerd', bed.containerd);
    const both = new Engines([docker, containerd], 300);
    const watch = watching(both);
    await assert.rejects(watch.look(), /no answer within 300 ms/);
    assert.deepEqual([...watch.containers.keys()], [containerId]);
    silent.close();
  });

  test('an engine that was killed is a fault; its containers stay told while they run', async () => {
    bed.runDocker('run', '-d', '--name', 'left', ...NO_LIMITS, BED_IMAGE);
    const both = openEngines({ docker: bed.docker, containerd: bed.containerd });
    const watch = watching(both);
    await watch.look();
    assert.equal(watch.containers.size, 2);
    bed.kill('containerd');
    await assert.rejects(watch.look(), (error) => isLacreError(error, 'agent.engine.unavailable'));
    assert.equal(watch.containers.size, 2);
    bed.runDocker('rm', '-f', 'left');
    await assert.rejects(watch.look());
    assert.deepEqual([...watch.containers.keys()], [containerId]);
    bed.kill('docker');
    await assert.rejects(both.list(), (error) => isLacreError(error, 'agent.engine.unavailable'));
  });
});
