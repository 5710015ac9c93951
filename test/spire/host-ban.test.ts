import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { SpireBed, spireBedMissing } from './spire-bed.ts';

const skip = spireBedMissing();

describe('on_host_failure = "ban", in an unmodified SPIRE', { skip, concurrency: false }, () => {
  let bed: SpireBed;

  before(async () => {
    bed = await SpireBed.create('host ban');
    const serverHalf = [`spire_socket = "${bed.apiSocket}"`, 'on_host_failure = "ban"'];
    await bed.startServer({ nodePlugins: true, serverHalf });
    await bed.startAgent({ nodePlugins: true });
  });

  after(async () => {
    await bed?.[Symbol.asyncDispose]();
  });

  async function isBanned(): Promise<boolean | undefined> {
    const { stdout } = await bed.serverCommand('agent', 'list', '-output', 'json');
    const { agents = [] } = JSON.parse(stdout) as { agents?: { id: { path: string }; banned: boolean }[] };
    return agents.find(({ id }) => bed.node.spiffeId.endsWith(id.path))?.banned;
  }

  test('a host that executes what is no reference value: its agent is banned, and the log says why', async () => {
    assert.equal(await isBanned(), false);
    await bed.node.kernel.measureHost({ path: '/usr/bin/evil', sha256: bed.node.digest('evil') });
    // The Lacre server sees the host with the agent's next attestation, which it refuses.
    const line = await bed.untilLogged(/is banned: /, 40_000);
    assert.match(line, /\/usr\/bin\/evil/);
    assert.ok(line.includes(bed.node.spiffeId), line);
    assert.equal(await isBanned(), true);
  });

  test('it stays banned, and is told of once', async () => {
    await bed.stopAgent();
    await bed.startAgent({ nodePlugins: true }, false);
    await bed.untilLogged(/a node was not attested.*evil|evil.*a node was not attested|banned/i);
    await delay(12_000);
    assert.equal(await isBanned(), true);
    const lines = (await bed.logText()).split('\n').filter((line) => line.includes('is banned: '));
    assert.equal(lines.length, 1, lines.join('\n'));
  });

  test('a Lacre server that does not answer: the plugin says so, and looks on when it is back', async () => {
    assert.equal((await bed.serverCommand('healthcheck')).status, 0);
    await bed.node.stopServer('SIGKILL');
    await bed.untilLogged(/hosts cannot be looked at, so no agent is evicted: the Lacre server does not answer/);
    await bed.node.startServer();
    await bed.untilLogged(/hosts are looked at again/);
  });
});
