import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { NativeAdmin } from './native-admin.ts';
import { NativeNode, nativeNodeMissing, TRUST_DOMAIN } from './native-node.ts';
import type { OciContainer } from './oci-container.ts';
import { ask, askUntilAnswered, PERMISSION_DENIED, resultOf } from './workload.ts';

const skip = nativeNodeMissing() ?? false;
if (skip && process.env['CI'] === 'true') throw new Error(`CI=true, and ${skip}`);

const ROUNDS = 8;
const SEED = 'kill at any moment';

/** Numbers from 0 to 1 that depend on the seed alone: a failure can be run again. */
function* numbers(node: NativeNode): Generator<number> {
  for (let step = 0; ; step++) yield Buffer.from(node.digest(`step ${step}`)).readUInt32BE(0) / 2 ** 32;
}

test('kill -9 of server or agent at any moment, under requests', { skip, timeout: 180_000 }, async (context) => {
  await using node = await NativeNode.create({ seed: SEED, serverSettings: 'quote_interval: 1s' });
  const random = numbers(node);
  const next = () => random.next().value ?? 0;
  await node.startServer();
  const bundlePem = await prepare(node);
  await node.startAgent(bundlePem);
  const good = [await node.addContainer('one'), await node.addContainer('two')];
  const bad = await node.addContainer('bad', false);
  await node.kernel.measureContainer({ path: '/bin/app', sha256: node.digest('changed') }, { uid: bad.uidBase });
  for (const container of good) assert.equal(resultOf(await askUntilAnswered(container, 60_000)), idOf(container));
  let served = 0;
  for (let round = 0; round < ROUNDS; round++) {
    let isAsking = true;
    const requests = [...good, bad].map(async (container) => {
      while (isAsking) {
        const outcome = await ask(container, 2_000);
        if (!('svid' in outcome)) continue;
        assert.notEqual(container, bad, 'the changed program got an SVID');
        assert.equal(outcome.svid.spiffeId, idOf(container));
        const certificate = new X509Certificate(Buffer.from(outcome.svid.x509Svid));
        assert.ok(certificate.validToDate.getTime() <= Date.now() + 300_000);
        served += 1;
      }
    });
    await delay(600 * next());
    if (next() < 0.5) {
      await node.stopServer('SIGKILL');
      await delay(300 * next());
      await node.startServer();
    } else {
      await node.stopAgent('SIGKILL');
      await node.startAgent(bundlePem);
    }
    await delay(600 * next());
    isAsking = false;
    await Promise.all(requests);
  }
  context.diagnostic(`${served} SVIDs over ${ROUNDS} kills, ${node.proxy.quotes} quotes`);
  assert.ok(served > 0);
  for (const container of good) assert.equal(resultOf(await askUntilAnswered(container, 60_000)), idOf(container));
  assert.equal(resultOf(await askUntilAnswered(bad)), PERMISSION_DENIED);
  using admin = new NativeAdmin(node);
  assert.equal(Number((await admin.nodeInfo()).verifiedEntries), node.kernel.count);
});

async function prepare(node: NativeNode): Promise<string> {
  using admin = new NativeAdmin(node);
  await admin.approve();
  await admin.addNode();
  for (const name of ['one', 'two', 'bad']) await admin.addEntry(name);
  return await admin.bundlePem();
}

function idOf({ name }: OciContainer): string {
  return `spiffe://${TRUST_DOMAIN}/${name}`;
}
