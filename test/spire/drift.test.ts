import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { TRUST_DOMAIN } from '../simulator/native-node.ts';
import { ask, resultOf, type Workload } from '../simulator/workload.ts';
import { SpireBed, spireBedMissing } from './spire-bed.ts';

const skip = spireBedMissing();
const NODE = `spiffe://${TRUST_DOMAIN}/node`;

describe('drift, and a plugin that loses what it needs', { skip, concurrency: false }, () => {
  let bed: SpireBed;
  let stopped = '';

  before(async () => {
    bed = await SpireBed.create('drift');
    // The node's engine is played: what it is told is written down.
    stopped = join(bed.node.directory, 'stopped');
    const podman = join(bed.node.directory, 'podman');
    await writeFile(podman, `#!/bin/sh\necho "$@" >> ${stopped}\n`, { mode: 0o755 });
    await bed.startServer();
    for (const name of ['orders', 'payments']) await bed.addEntry(name, NODE, [`lacre:container-name:${name}`]);
    await bed.startAgent({ workload: bed.workloadData(['on_drift = "stop"', `podman = "${podman}"`]) });
  });

  after(async () => {
    await bed?.[Symbol.asyncDispose]();
  });

  test('the container that drifts is stopped, and no other', async () => {
    const orders = await bed.node.addContainer('orders');
    const payments = await bed.node.addContainer('payments');
    for (const container of [orders, payments]) await untilServed(container, container.name);
    await bed.node.kernel.measureContainer(
      { path: '/tmp/miner', sha256: bed.node.digest('miner') },
      { uid: orders.uidBase },
    );
    const line = await bed.untilLogged(/is stopped, and kept/);
    assert.ok(line.includes(orders.id.slice(0, 12)), line);
    assert.match(await bed.untilLogged(/is trusted no more/), /\/tmp\/miner/);
    await delay(1_500);
    assert.equal(await readFile(stopped, 'utf8'), `stop --time 1 ${orders.id}\n`);
    assert.equal(resultOf(await ask(payments)), `spiffe://${TRUST_DOMAIN}/payments`);
  });

  test('without its Lacre server the plugin refuses and stays; with it, it goes on by itself', async () => {
    const payments = bed.node.containers.find(({ name }) => name === 'payments');
    assert.ok(payments);
    await bed.node.stopServer('SIGKILL');
    await bed.untilLogged(/next try in/);
    assert.notEqual(resultOf(await ask(payments, 3_000)), `spiffe://${TRUST_DOMAIN}/payments`);
    await bed.untilLogged(/the node is not attested/);
    await bed.node.startServer();
    await untilServed(payments, 'payments');
    assert.equal(
      (await readFile(stopped, 'utf8')).includes(payments.id),
      false,
      'a lost server costs no container its life',
    );
  });
});

async function untilServed(workload: Workload, name: string): Promise<void> {
  const deadline = performance.now() + 40_000;
  let result = '';
  while (performance.now() < deadline) {
    result = resultOf(await ask(workload));
    if (result === `spiffe://${TRUST_DOMAIN}/${name}`) return;
    await delay(300);
  }
  assert.fail(`${name}: ${result}`);
}
