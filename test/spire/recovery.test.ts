import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Code } from '@connectrpc/connect';
import { TRUST_DOMAIN } from '../simulator/native-node.ts';
import type { OciContainer } from '../simulator/oci-container.ts';
import { ask, resultOf } from '../simulator/workload.ts';
import { PluginCaller } from './plugin-caller.ts';
import { SpireBed, spireBedMissing } from './spire-bed.ts';

const skip = spireBedMissing();
const NODE = `spiffe://${TRUST_DOMAIN}/node`;
const RECOVERY_MS = 60_000;

describe('the plugin of a real spire-agent loses what it needs, and gets it back', { skip, concurrency: false }, () => {
  let bed: SpireBed;
  let orders: OciContainer;
  let pids: readonly number[];

  before(async () => {
    bed = await SpireBed.create('recovery');
    await bed.startServer();
    await bed.addEntry('orders', NODE, ['lacre:container-name:orders']);
    await bed.startAgent({ workload: bed.workloadData(['max_evidence_age = "10s"']) });
    orders = await bed.node.addContainer('orders');
    await untilServed();
    pids = await bed.pluginPids();
  });

  after(async () => {
    await bed?.[Symbol.asyncDispose]();
  });

  async function untilServed(): Promise<void> {
    const deadline = performance.now() + RECOVERY_MS;
    let result = '';
    while (result !== `spiffe://${TRUST_DOMAIN}/orders`) {
      assert.ok(performance.now() < deadline, `${result}\n${await bed.logText()}`);
      await delay(300);
      result = resultOf(await ask(orders));
    }
  }

  /** Refused with UNAVAILABLE and one of these codes, before the deadline and from then on; SPIRE denies the workload. */
  async function untilUnavailable(codes: readonly string[], sentence: RegExp): Promise<void> {
    using plugin = await PluginCaller.of(bed);
    const deadline = performance.now() + RECOVERY_MS;
    for (;;) {
      const code = await plugin.codeOfRefusal(orders.pid);
      if (codes.includes(code)) {
        await plugin.refuses(orders.pid, Code.Unavailable, sentence, code);
        break;
      }
      assert.ok(performance.now() < deadline, code);
      await delay(300);
    }
    assert.notEqual(resultOf(await ask(orders, 3_000)), `spiffe://${TRUST_DOMAIN}/orders`);
  }

  async function isTheSame(): Promise<void> {
    assert.deepEqual(await bed.pluginPids(), pids, 'the process never ended');
  }

  test('its Lacre server', { timeout: 180_000 }, async () => {
    await bed.node.stopServer('SIGKILL');
    await untilUnavailable(['agent.workload.unattested', 'agent.session.lost'], /./);
    await bed.node.startServer();
    await untilServed();
    await isTheSame();
  });

  test('its engine: a container that came meanwhile is refused, and attested when the engine is back', {
    timeout: 180_000,
  }, async () => {
    const file = join(bed.node.directory, 'storage/overlay-containers/containers.json');
    const [plugin = 0] = pids;
    // So that its engine is gone before the plugin could see the newcomer.
    process.kill(plugin, 'SIGSTOP');
    const added = async () => {
      const container = await bed.node.addContainer('late');
      const text = await readFile(file, 'utf8');
      await writeFile(file, '{');
      return { late: container, text };
    };
    const { late, text } = await added().finally(() => process.kill(plugin, 'SIGCONT'));
    await bed.untilLogged(/containers\.json/);
    using caller = await PluginCaller.of(bed);
    await caller.refuses(late.pid, Code.Unavailable, /podman/, 'agent.caller.engine');
    await writeFile(file, text);
    const deadline = performance.now() + RECOVERY_MS;
    while ((await caller.codeOfRefusal(late.pid)) !== '') {
      assert.ok(performance.now() < deadline, await bed.logText());
      await delay(300);
    }
    assert.ok((await caller.attest(late.pid)).includes('container-name:late'));
    await isTheSame();
  });

  // Last: the kernel that is played loses its TPM with the plugin.
  test('its TPM', { timeout: 180_000 }, async () => {
    bed.node.proxy.isStalled = true;
    await bed.node.proxy.disconnect();
    await untilUnavailable(['agent.workload.unattested', 'agent.session.lost'], /./);
    bed.node.proxy.isStalled = false;
    await bed.node.proxy.disconnect();
    await untilServed();
    await isTheSame();
  });
});
