import assert from 'node:assert/strict';
import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto';
import { readFile, truncate } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { WorkloadClient } from '../agent/workload-client.ts';
import { evmSigEntry } from './list-entry.ts';
import { NativeAdmin } from './native-admin.ts';
import { NativeNode, nativeNodeMissing, TRUST_DOMAIN } from './native-node.ts';
import type { OciContainer } from './oci-container.ts';
import { ask, askUntilAnswered, PERMISSION_DENIED, resultOf, UNAVAILABLE } from './workload.ts';

const SETTINGS = 'quote_interval: 1s';

const skip = nativeNodeMissing() ?? false;
if (skip && process.env['CI'] === 'true') throw new Error(`CI=true, and ${skip}`);

async function eventually(what: string, check: () => Promise<boolean> | boolean, timeoutMs = 20_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await check())) {
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await delay(50);
  }
}

describe('a node, its containers, and what becomes of their identities', { skip, concurrency: false }, () => {
  let node: NativeNode;
  let admin: NativeAdmin;
  let bundlePem = '';
  let orders: OciContainer;
  let payments: OciContainer;
  let stock: OciContainer;

  before(async () => {
    node = await NativeNode.create({ seed: 'end to end', serverSettings: SETTINGS });
    await node.startServer();
    admin = new NativeAdmin(node);
    bundlePem = await admin.bundlePem();
    await admin.approve();
    for (const name of ['orders', 'payments', 'rogue']) await admin.addEntry(name);
    await admin.addEntry('stock', ['evidence-age:4s']);
    await node.startAgent(bundlePem);
    orders = await node.addContainer('orders');
    payments = await node.addContainer('payments');
    stock = await node.addContainer('stock');
  });

  after(async () => {
    if (skip) return;
    admin?.[Symbol.dispose]();
    await node?.[Symbol.asyncDispose]();
  });

  test('an EK that is not in the inventory is parked, and gets nothing', async () => {
    await eventually('parked', async () => {
      const info = await admin.nodeInfo().catch(() => undefined);
      return info?.state === 'parked';
    });
    assert.equal(resultOf(await ask(orders, 2_000)), UNAVAILABLE);
  });

  test('once it is there, the node enrols by itself and every container gets its own SVID', async () => {
    await admin.addNode();
    for (const container of [orders, payments, stock]) {
      const started = Date.now();
      const outcome = await askUntilAnswered(container, 60_000);
      assert.ok('svid' in outcome, `${container.name}: ${JSON.stringify(outcome)}\n${node.programs.log.join('')}`);
      const { svid } = outcome;
      assert.equal(svid.spiffeId, `spiffe://${TRUST_DOMAIN}/${container.name}`);
      const certificate = new X509Certificate(Buffer.from(svid.x509Svid));
      const root = new X509Certificate(bundlePem);
      assert.ok(certificate.verify(root.publicKey));
      assert.equal(certificate.subjectAltName, `URI:${svid.spiffeId}`);
      const key = createPrivateKey({ key: Buffer.from(svid.x509SvidKey), format: 'der', type: 'pkcs8' });
      assert.ok(certificate.publicKey.equals(createPublicKey(key)));
      assert.ok(certificate.validToDate.getTime() <= Date.now() + 300_000, 'no longer than its evidence and 5 minutes');
      assert.ok(certificate.validToDate.getTime() > started);
    }
    const info = await admin.nodeInfo();
    assert.equal(info.state, 'attested');
    assert.equal(info.rootOfTrust, 'software');
    assert.equal(Number(info.verifiedEntries), node.kernel.count);
  });

  test('what runs outside of containers gets nothing', async () => {
    using client = new WorkloadClient((await node.startHostProcess()).relayPath);
    const { code } = await client.ended;
    assert.equal(code, PERMISSION_DENIED);
    assert.equal(client.responses.length, 0);
  });

  test('a container whose program is not the image’s is refused, and told so with file and digests', async () => {
    const rogue = await node.addContainer('rogue', false);
    const changed = node.digest('a changed program');
    await node.kernel.measureContainer({ path: '/bin/app', sha256: changed }, { uid: rogue.uidBase });
    const outcome = await askUntilAnswered(rogue);
    assert.equal(resultOf(outcome), PERMISSION_DENIED);
    const workload = (await admin.workloads()).find(({ containerName }) => containerName === 'rogue');
    const finding = workload?.verdict?.findings.find(({ path, fatal }) => path === '/bin/app' && fatal);
    const { sha256 } = await node.program();
    assert.deepEqual(finding?.expectedSha256, [Buffer.from(sha256).toString('hex')]);
    assert.equal(finding?.seenSha256, Buffer.from(changed).toString('hex'));
    assert.deepEqual(workload?.spiffeIds, []);
  });

  test('a bad entry in one container’s range withdraws that one within a second or two, and no other', async (context) => {
    using ours = new WorkloadClient(orders.relayPath);
    using theirs = new WorkloadClient(payments.relayPath);
    await ours.response(0);
    await theirs.response(0);
    const started = performance.now();
    await node.kernel.measureContainer({ path: '/tmp/evil', sha256: node.digest('evil') }, { uid: orders.uidBase + 7 });
    const { code } = await ours.ended;
    const elapsedMs = performance.now() - started;
    context.diagnostic(`withdrawn after ${elapsedMs.toFixed(0)} ms`);
    assert.equal(code, PERMISSION_DENIED);
    assert.ok(elapsedMs < 2_000, `${elapsedMs} ms`);
    assert.equal(resultOf(await ask(orders)), PERMISSION_DENIED);
    const still = await Promise.race([theirs.ended, delay(2_500, 'open')]);
    assert.equal(still, 'open');
    assert.equal(resultOf(await ask(payments)), `spiffe://${TRUST_DOMAIN}/payments`);
    const workload = (await admin.workloads()).find(({ containerName }) => containerName === 'orders');
    assert.equal(workload?.verdict?.trusted, false);
    assert.ok(Number(workload?.withdrawnAtUnixMs) > 0);
  });

  test('kill -9 of the server: nothing is issued meanwhile, all goes on after, and nothing bad is forgotten', async () => {
    await node.stopServer('SIGKILL');
    await eventually('the agent notices', async () => resultOf(await ask(payments, 3_000)) === UNAVAILABLE);
    const quotes = node.proxy.quotes;
    await node.startServer();
    const outcome = await askUntilAnswered(payments, 60_000);
    assert.equal(resultOf(outcome), `spiffe://${TRUST_DOMAIN}/payments`);
    assert.ok(node.proxy.quotes > quotes, 'no SVID without a quote on the new connection');
    assert.equal(resultOf(await askUntilAnswered(orders)), PERMISSION_DENIED);
  });

  test('kill -9 of the agent: a new one enrols with the same key, and the bad container stays refused', async () => {
    const quotes = node.proxy.quotes;
    await node.stopAgent('SIGKILL');
    await node.startAgent(bundlePem);
    const outcome = await askUntilAnswered(payments, 60_000);
    assert.equal(resultOf(outcome), `spiffe://${TRUST_DOMAIN}/payments`);
    assert.ok(node.proxy.quotes >= quotes + 2, 'one quote to enrol, one for the session');
    assert.equal(resultOf(await askUntilAnswered(orders)), PERMISSION_DENIED);
  });

  test('a TPM that stalls: what asks for fresh evidence gets nothing, until it answers again', async () => {
    assert.equal(resultOf(await askUntilAnswered(stock)), `spiffe://${TRUST_DOMAIN}/stock`);
    node.proxy.isStalled = true;
    await delay(4_500);
    const outcome = await ask(stock, 3_000);
    assert.ok(!('svid' in outcome), 'its evidence would be older than 4 s');
    node.proxy.isStalled = false;
    await node.proxy.disconnect();
    assert.equal(resultOf(await askUntilAnswered(stock, 60_000)), `spiffe://${TRUST_DOMAIN}/stock`);
  });

  test('a list that shrinks ends the epoch: nothing is issued on what is left', async () => {
    assert.equal(resultOf(await askUntilAnswered(payments)), `spiffe://${TRUST_DOMAIN}/payments`);
    using client = new WorkloadClient(payments.relayPath);
    await client.response(0);
    const { length } = await readFile(node.kernel.listPath);
    await truncate(node.kernel.listPath, Math.floor(length / 2));
    const { code } = await client.ended;
    assert.ok([PERMISSION_DENIED, UNAVAILABLE].includes(code), code);
    for (let tries = 0; tries < 5; tries++) {
      assert.ok(!('svid' in (await ask(payments, 2_000))));
      await delay(500);
    }
  });

  test('a reboot begins anew: the same node, the same names, a clean list', async () => {
    await node.stopAgent('SIGKILL');
    await node.reboot();
    await node.startAgent(bundlePem);
    orders = await node.addContainer('orders');
    stock = await node.addContainer('stock');
    assert.equal(resultOf(await askUntilAnswered(orders, 60_000)), `spiffe://${TRUST_DOMAIN}/orders`);
    assert.equal(resultOf(await askUntilAnswered(stock, 60_000)), `spiffe://${TRUST_DOMAIN}/stock`);
    const info = await admin.nodeInfo();
    assert.equal(Number(info.verifiedEntries), node.kernel.count);
  });

  test('an entry that the TPM never saw: no quote explains what comes after, so fresh evidence there is none', async () => {
    const verified = Number((await admin.nodeInfo()).verifiedEntries);
    await node.kernel.forge(evmSigEntry(10, await node.program(), { uid: stock.uidBase + 1 }));
    await node.kernel.measureContainer(await node.program(), { uid: stock.uidBase + 2 });
    await delay(5_000);
    assert.ok(!('svid' in (await ask(stock, 3_000))), 'its evidence would be older than 4 s');
    assert.equal(Number((await admin.nodeInfo()).verifiedEntries), verified);
  });
});
