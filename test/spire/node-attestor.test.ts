import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { TRUST_DOMAIN } from '../simulator/native-node.ts';
import { askUntilAnswered, resultOf } from '../simulator/workload.ts';
import { SpireBed, spireBedMissing } from './spire-bed.ts';

const skip = spireBedMissing();

describe('NodeAttestor "lacre_tpm" in an unmodified SPIRE', { skip, concurrency: false }, () => {
  let bed: SpireBed;

  before(async () => {
    bed = await SpireBed.create('node attestor');
    await bed.startServer({ nodePlugins: true, serverHalf: [`spire_socket = "${bed.apiSocket}"`] });
  });

  after(async () => {
    await bed?.[Symbol.asyncDispose]();
  });

  test('the agent gets the ID of its EK, selectors of root and host, and may attest again', async () => {
    await bed.startAgent({ nodePlugins: true, workload: bed.workloadData(['on_drift = "stop"']) });
    const { stdout } = await bed.serverCommand('agent', 'list', '-output', 'json');
    const { agents } = JSON.parse(stdout) as {
      agents: { id: { path: string }; can_reattest: boolean; selectors: { type: string; value: string }[] }[];
    };
    const [agent] = agents;
    assert.equal(agent?.id.path, `/spire/agent/lacre_tpm/${bed.node.ekSha256Hex.slice(0, 32)}`);
    assert.equal(agent?.can_reattest, true);
    const selectors = agent?.selectors.map(({ type, value }) => `${type}:${value}`) ?? [];
    assert.ok(selectors.includes('lacre_tpm:root:software'), selectors.join(' '));
    assert.ok(selectors.includes('lacre_tpm:host:open'), selectors.join(' '));
    assert.ok(selectors.includes(`lacre_tpm:ek:sha256:${bed.node.ekSha256Hex}`), selectors.join(' '));
  });

  test('both plugins together: a container below this agent gets its SVID', async () => {
    await bed.addEntry('orders', bed.node.spiffeId, ['lacre:container-name:orders', 'lacre:attribution:exact']);
    const orders = await bed.node.addContainer('orders');
    const deadline = performance.now() + 40_000;
    let outcome = await askUntilAnswered(orders);
    while (!('svid' in outcome) && performance.now() < deadline) {
      await delay(500);
      outcome = await askUntilAnswered(orders);
    }
    assert.equal(resultOf(outcome), `spiffe://${TRUST_DOMAIN}/orders`, await bed.logText());
  });

  test('the agent attests again by itself, and sends what the list has grown by', async () => {
    const before = (await bed.logText()).match(/evidence is sent/g)?.length ?? 0;
    await bed.node.kernel.measureHost({ path: '/usr/bin/podman', sha256: bed.node.digest('/usr/bin/podman') });
    const again = new RegExp(`(.*evidence is sent[^]*){${before + 1}}`);
    const deadline = performance.now() + 60_000;
    while (!again.test(await bed.logText()) && performance.now() < deadline) await delay(200);
    const lines = (await bed.logText()).split('\n').filter((line) => line.includes('evidence is sent'));
    const facts = lines.map((line) => ({ sent: numberIn(line, 'sentBytes'), from: numberIn(line, 'resumedFrom') }));
    const [first, second] = facts;
    assert.ok(first !== undefined && second !== undefined, lines.join('\n'));
    assert.equal(first.from, 0);
    assert.equal(second.from, first.sent, 'from where the last evidence ended');
    assert.ok(second.sent < first.sent, 'and not the whole list');
    await bed.untilLogged('Successfully reattested node');
  });

  test('a host that executes what is no reference value: the agent is evicted, and stays out', async () => {
    await bed.node.kernel.measureHost({ path: '/usr/bin/evil', sha256: bed.node.digest('evil') });
    const line = await bed.untilLogged(/is evicted: /, 30_000);
    assert.match(line, /\/usr\/bin\/evil/);
    await bed.untilLogged(/a node was not attested|host/, 30_000);
    const deadline = performance.now() + 15_000;
    while ((await bed.agentIds()).length > 0 && performance.now() < deadline) await delay(200);
    assert.deepEqual(await bed.agentIds(), []);
  });
});

function numberIn(line: string, name: string): number {
  return Number(new RegExp(`${name}="?(\\d+)`).exec(line)?.[1]);
}
