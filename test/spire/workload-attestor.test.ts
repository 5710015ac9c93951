import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { WorkloadClient } from '../agent/workload-client.ts';
import { TRUST_DOMAIN } from '../simulator/native-node.ts';
import {
  ask,
  askUntilAnswered,
  type Outcome,
  PERMISSION_DENIED,
  resultOf,
  type Workload,
} from '../simulator/workload.ts';
import { SpireBed, spireBedMissing } from './spire-bed.ts';

const skip = spireBedMissing();
const NODE = `spiffe://${TRUST_DOMAIN}/node`;

describe('WorkloadAttestor "lacre" in an unmodified spire-agent', { skip, concurrency: false }, () => {
  let bed: SpireBed;

  before(async () => {
    bed = await SpireBed.create('workload attestor');
    await bed.startServer();
    await bed.addEntry('orders', NODE, [
      `lacre:image-name:${bed.node.image.name}`,
      'lacre:attribution:exact',
      'lacre:container-name:orders',
      'lacre:entrypoint:/bin/app',
      'lacre:docker:label:tier:a:b',
    ]);
    await bed.addEntry('other', NODE, ['lacre:container-name:orders', 'lacre:docker:label:tier:a']);
    await bed.addEntry('another', NODE, ['lacre:container-name:orders', 'lacre:entrypoint:/bin/ap']);
    await bed.addEntry('rogue', NODE, [`lacre:image-name:${bed.node.image.name}`, 'lacre:container-name:rogue']);
    await bed.startAgent({ workload: bed.workloadData() });
  });

  after(async () => {
    await bed?.[Symbol.asyncDispose]();
  });

  test('a container of the approved image gets its SVID from SPIRE', async () => {
    const orders = await bed.node.addContainer('orders');
    const outcome = await untilServed(orders);
    assert.equal(resultOf(outcome), `spiffe://${TRUST_DOMAIN}/orders`, await bed.logText());
    assert.deepEqual(
      await spiffeIds(orders),
      [`spiffe://${TRUST_DOMAIN}/orders`],
      'of entries that fit, and no others',
    );
  });

  test('one that ran a file of no image gets none, and the log says which', async () => {
    const rogue = await bed.node.addContainer('rogue');
    await bed.node.kernel.measureContainer(
      { path: '/tmp/miner', sha256: bed.node.digest('miner') },
      { uid: rogue.uidBase },
    );
    assert.equal(resultOf(await ask(rogue)), PERMISSION_DENIED);
    const line = await bed.untilLogged('no selectors for process');
    assert.match(line, /\/tmp\/miner/);
    assert.ok(line.includes('spire.workload.refused'), line);
  });

  test('a process in no container is refused with a sentence', async () => {
    assert.equal(resultOf(await ask(await bed.node.startHostProcess())), PERMISSION_DENIED);
    await bed.untilLogged(/runs in no container of a known engine/);
  });

  test('1,000 attestations: each is answered, by one plugin process', { timeout: 120_000 }, async () => {
    const [orders] = bed.node.containers;
    assert.ok(orders);
    const pids = await bed.pluginPids();
    assert.equal(pids.length, 1);
    for (let round = 0; round < 50; round += 1) {
      const outcomes: readonly Outcome[] = await Promise.all(Array.from({ length: 20 }, () => ask(orders)));
      for (const outcome of outcomes) assert.equal(resultOf(outcome), `spiffe://${TRUST_DOMAIN}/orders`);
    }
    assert.deepEqual(await bed.pluginPids(), pids);
  });

  test('kill -9 of the plugin: SPIRE stays up and serves no container any more', async () => {
    const [orders] = bed.node.containers;
    const [pid] = await bed.pluginPids();
    assert.ok(orders && pid !== undefined);
    process.kill(pid, 'SIGKILL');
    await delay(200);
    assert.equal(resultOf(await ask(orders)), PERMISSION_DENIED);
    assert.equal((await bed.serverCommand('healthcheck')).status, 0);
  });

  test('a wrong configuration: spire-agent does not start, and its log has every fault', async () => {
    await bed.stopAgent();
    await bed.startAgent({ workload: bed.workloadData(['sever = "x"', 'on_drift = "kill"']) }, false);
    await bed.agentEnded;
    const line = await bed.untilLogged('2 faults');
    assert.match(line, /sever: there is no such key/);
    assert.match(line, /on_drift: must be/);
  });
});

async function spiffeIds(workload: Workload): Promise<string[]> {
  using client = new WorkloadClient(workload.relayPath);
  return (await client.response(0, 8_000)).svids.map((svid) => svid.spiffeId);
}

/** Workloads of SPIRE ask again where they are denied: entries reach the agent after some seconds. */
async function untilServed(workload: Workload) {
  const deadline = performance.now() + 40_000;
  for (;;) {
    const outcome = await askUntilAnswered(workload);
    if ('svid' in outcome || performance.now() > deadline) return outcome;
    await delay(500);
  }
}
