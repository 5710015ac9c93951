import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile, readlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { buildExecutable } from '../../scripts/build-executable.ts';
import { TRUST_DOMAIN } from '../simulator/native-node.ts';
import { ask, resultOf } from '../simulator/workload.ts';
import { SpireBed, spireBedMissing } from './spire-bed.ts';

const skip = spireBedMissing();

describe('the packed executable as plugins of an unmodified SPIRE', { skip, concurrency: false }, () => {
  let bed: SpireBed;
  let marker: string;
  let hostile: Record<string, string>;

  before(async () => {
    const { path, sha256 } = await buildExecutable();
    bed = await SpireBed.create('executable');
    const { directory } = bed.node;
    marker = join(directory, 'marker');
    const evil = join(directory, 'evil.cjs');
    await writeFile(evil, `require('node:fs').writeFileSync(${JSON.stringify(marker)}, 'ran');`);
    hostile = { NODE_OPTIONS: `--require ${evil}`, NODE_EXTRA_CA_CERTS: evil, SSL_CERT_FILE: evil };
    bed.plugin = { command: path, args: [], options: ['--native-folder', join(directory, 'plugin')], sha256 };
    await bed.startServer({ nodePlugins: true, serverHalf: [`spire_socket = "${bed.apiSocket}"`] });
    await bed.addEntry('orders', bed.node.spiffeId, ['lacre:container-name:orders', 'lacre:attribution:exact']);
  });

  after(async () => {
    await bed?.[Symbol.asyncDispose]();
  });

  test('with plugin_checksum, and an environment that Node would obey: both halves and the workload attestor', async () => {
    await inEnvironment(hostile, () =>
      bed.startAgent({ nodePlugins: true, alone: true, workload: bed.workloadData() }),
    );
    assert.deepEqual(await bed.agentIds(), [bed.node.spiffeId]);
    const orders = await bed.node.addContainer('orders');
    const deadline = performance.now() + 40_000;
    let result = resultOf(await ask(orders));
    while (result !== `spiffe://${TRUST_DOMAIN}/orders` && performance.now() < deadline) {
      await delay(300);
      result = resultOf(await ask(orders));
    }
    assert.equal(result, `spiffe://${TRUST_DOMAIN}/orders`, await bed.logText());
    assert.equal(existsSync(join(bed.node.directory, 'plugin', 'lacre.node')), true);
  });

  test('what runs is the executable, with what go-plugin told it and nothing that Node would obey', async () => {
    const pids = await bed.pluginPids();
    assert.equal(pids.length, 2);
    for (const pid of pids) {
      assert.equal(await readlink(`/proc/${pid}/exe`), bed.plugin.command);
      const names = (await readFile(`/proc/${pid}/environ`, 'utf8'))
        .split('\0')
        .map((line) => line.split('=')[0] ?? '');
      assert.ok(names.includes('PLUGIN_PROTOCOL_VERSIONS'), names.join());
      assert.ok(names.includes('NodeAttestor') || names.includes('WorkloadAttestor'), names.join());
      for (const name of Object.keys(hostile)) assert.ok(!names.includes(name), name);
    }
    assert.equal(existsSync(marker), false);
  });

  test("spire-agent is healthy: its own question, from no container, is no fault of Lacre's", async () => {
    const deadline = performance.now() + 20_000;
    while ((await bed.agentHealth()) !== 0 && performance.now() < deadline) await delay(300);
    assert.equal(await bed.agentHealth(), 0, await bed.logText());
  });

  test('the digest of another program: spire-agent starts no plugin, and ends', async () => {
    await bed.stopAgent();
    bed.plugin = { ...bed.plugin, sha256: '00'.repeat(32) };
    await bed.startAgent({ nodePlugins: true, workload: bed.workloadData() }, false);
    await bed.agentEnded;
    await bed.untilLogged(/checksums did not match/);
  });
});

async function inEnvironment(variables: Readonly<Record<string, string>>, work: () => Promise<void>): Promise<void> {
  Object.assign(process.env, variables);
  try {
    await work();
  } finally {
    for (const name of Object.keys(variables)) delete process.env[name];
  }
}
