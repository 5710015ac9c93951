import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { chown, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { BED_IMAGE, BED_UID_BASE, bedMissing, makePodmanBed, type PodmanBed } from '../../src/agent/podman-bed.ts';
import type { ReferenceFile } from '../../src/appraisal/reference/file-table.ts';
import { withoutUserNamespaces } from '../../src/lab/image/seccomp-profile.ts';
import { TRUST_DOMAIN } from '../simulator/native-node.ts';
import { ask, resultOf, type Workload } from '../simulator/workload.ts';
import { SpireBed, spireBedMissing } from './spire-bed.ts';

const RELAY = new URL('../simulator/relay.c', import.meta.url);
const STOCK_PROFILE = '/usr/share/containers/seccomp.json';
const NODE = `spiffe://${TRUST_DOMAIN}/node`;
const CONFINED = 'noexec,nosuid,nodev';

interface PodmanContainer extends Workload {
  readonly id: string;
  readonly uidBase: number;
}

const missing = bedMissing();
const skip = missing ?? spireBedMissing();

describe('on_drift = "stop": the real spire-agent, a real podman by its REST socket', {
  skip,
  concurrency: false,
}, () => {
  let bed: SpireBed;
  let engine: PodmanBed;
  let file: ReferenceFile;
  let count = 0;

  before(async () => {
    bed = await SpireBed.create('drift podman');
    engine = await makePodmanBed(await readFile(RELAY, 'utf8'), [...bed.node.into]);
    const socket = join(engine.folder, 'podman.sock');
    await engine.serve(socket);
    await writeFile(join(engine.folder, 'seccomp.json'), withoutUserNamespaces(await readFile(STOCK_PROFILE, 'utf8')));
    const program = await readFile(join(engine.folder, 'app'));
    file = { path: '/app', sha256: new Uint8Array(createHash('sha256').update(program).digest()), mode: 0o755 };
    const [image] = JSON.parse(engine.podman('image', 'inspect', BED_IMAGE)) as { Digest: string; Id: string }[];
    assert.ok(image);
    await bed.admin.approveImage([file], {
      manifestDigest: image.Digest,
      configDigest: `sha256:${image.Id}`,
      names: [BED_IMAGE],
      entrypoint: ['/app'],
      environment: ['LEVEL=1', 'KEPT=yes'],
      entrypointPath: '/app',
    });
    await bed.startServer();
    for (const name of ['orders', 'payments']) {
      const own = ['lacre:attribution:exact', 'lacre:docker:label:of:image', `lacre:image-name:${BED_IMAGE}`];
      await bed.addEntry(name, NODE, [`lacre:container-name:${name}`, ...own]);
    }
    const { storage, run } = engine.place;
    const data = bed.workloadData().filter((line) => !/^(?:require|engine) /.test(line));
    const engineLine = `engine { podman { storage = "${storage}"  run = "${run}"  socket = "${socket}" } }`;
    // Without the socket it would be this command, which does not exist.
    const more = ['require = ["host:open"]', engineLine, 'on_drift = "stop"', 'podman = "/nowhere/podman"'];
    await bed.startAgent({ workload: [...data, ...more] });
  });

  after(async () => {
    engine?.close();
    await bed?.[Symbol.asyncDispose]();
  });

  async function run(name: string): Promise<PodmanContainer> {
    count += 1;
    const uidBase = BED_UID_BASE + 1024 * count;
    const folder = join(engine.folder, name);
    await mkdir(folder);
    await chown(folder, uidBase, uidBase);
    await bed.node.kernel.measureContainer(file, { uid: uidBase });
    const agentFolder = join(bed.node.directory, 'agent');
    const mounts = ['-v', `${folder}:/run/relay:rw,${CONFINED}`, '-v', `${agentFolder}:/run/lacre:ro,${CONFINED}`];
    const profile = ['--security-opt', `seccomp=${join(engine.folder, 'seccomp.json')}`];
    const relay = ['/run/relay/relay.sock', '/run/lacre/workload.sock'];
    const id = engine.run(name, count, ...profile, ...mounts, BED_IMAGE, ...relay);
    const relayPath = join(folder, 'relay.sock');
    await until(`${name} listens`, () => listens(relayPath));
    return { id, uidBase, relayPath };
  }

  async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
    const deadline = performance.now() + 40_000;
    while (!(await holds())) {
      if (performance.now() > deadline) assert.fail(`not within 40 s: ${what}\n${await bed.logText()}`);
      await delay(200);
    }
  }

  const isServed = (name: string, workload: Workload) => async () =>
    resultOf(await ask(workload)) === `spiffe://${TRUST_DOMAIN}/${name}`;
  const stateOf = (id: string) => engine.podman('inspect', '--format', '{{.State.Status}}', id).trim();

  test('the container that drifts is stopped and kept, its neighbour runs on', async () => {
    const orders = await run('orders');
    const payments = await run('payments');
    await until('orders is served', isServed('orders', orders));
    await until('payments is served', isServed('payments', payments));
    const miner = { path: '/tmp/miner', sha256: bed.node.digest('miner') };
    await bed.node.kernel.measureContainer(miner, { uid: orders.uidBase });
    const line = await bed.untilLogged(/is stopped, and kept/);
    assert.ok(line.includes(orders.id.slice(0, 12)), line);
    assert.match(await bed.untilLogged(/is trusted no more/), /\/tmp\/miner/);
    assert.equal(stateOf(orders.id), 'exited', 'stopped, and there still: its uid range is not handed out');
    await delay(1_500);
    assert.equal(stateOf(payments.id), 'running');
    assert.equal(await isServed('payments', payments)(), true);
  });

  test('started again it is refused: what it ran stays in its range', async () => {
    const orders = { relayPath: join(engine.folder, 'orders', 'relay.sock') };
    await rm(orders.relayPath);
    engine.podman('start', 'orders');
    await until('orders listens', () => listens(orders.relayPath));
    assert.notEqual(resultOf(await ask(orders)), `spiffe://${TRUST_DOMAIN}/orders`);
    assert.match(await bed.untilLogged(/no selectors for process/), /\/tmp\/miner/);
  });
});

async function listens(path: string): Promise<boolean> {
  const socket = connect(path);
  const connected = await once(socket, 'connect').then(
    () => true,
    () => false,
  );
  socket.destroy();
  return connected;
}
