import assert from 'node:assert/strict';
import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { containerOf, digestOf, TestServer, TRUST_DOMAIN, uidOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';
import { AgentHarness } from './agent-harness.ts';
import { Relay } from './relay.ts';

const SETTINGS = 'quote_interval: 2s\n';
const SELECTORS = ['lacre:image-name:registry.test/app:1', 'lacre:attribution:exact'];

describe('the agent with a real server and a software TPM', { skip: skipWithoutSoftwareTpm() }, () => {
  let server: TestServer;
  let harness: AgentHarness;
  let relay: Relay;

  before(async () => {
    harness = await AgentHarness.create();
    server = await TestServer.start(harness.node.tpm.rootPath, SETTINGS);
    relay = await Relay.start(server.port);
    await server.approve();
    await server.admin.addNode({ ekSha256: harness.node.ekSha256Hex, name: 'node-1', host: 'test-host' });
    await server.createEntry('/orders', harness.node.spiffeId, SELECTORS);
  });
  after(async () => {
    await harness[Symbol.asyncDispose]();
    await relay.close();
    await server[Symbol.asyncDispose]();
  });
  afterEach(() => harness.stop());

  async function started(): Promise<void> {
    harness.log.length = 0;
    await harness.start({ port: relay.port, bundle: await server.bundle() });
    await harness.untilLogged('the server trusts this node');
  }

  test('a container that runs its image gets an SVID of its entry, for its own key, by the bundle', async () => {
    const orders = await harness.run(1);
    await started();
    using client = harness.fetch(orders);
    const { svids } = await client.response(0);
    assert.equal(svids.length, 1);
    const svid = svids[0];
    assert.ok(svid);
    assert.equal(svid.spiffeId, `spiffe://${TRUST_DOMAIN}/orders`);
    const leaf = new X509Certificate(svid.x509Svid);
    assert.equal(leaf.subjectAltName, `URI:spiffe://${TRUST_DOMAIN}/orders`);
    assert.ok(leaf.verify(new X509Certificate(svid.bundle).publicKey));
    const key = createPublicKey(createPrivateKey({ key: Buffer.from(svid.x509SvidKey), format: 'der', type: 'pkcs8' }));
    assert.ok(leaf.publicKey.equals(key));
  });

  test('a changed file ends the streams of its container within a second, and no other stream', async () => {
    const [good, bad] = [await harness.run(2), await harness.run(3)];
    await started();
    using kept = harness.fetch(good);
    await kept.response(0);
    using ended = harness.fetch(bad);
    await ended.response(0);
    const startedMs = performance.now();
    await harness.node.kernel.measureContainer({ path: '/bin/app', sha256: digestOf('changed') }, { uid: uidOf(3) });
    const { code, message } = await ended.ended;
    const tookMs = performance.now() - startedMs;
    assert.equal(code, '7');
    assert.match(message, /\/bin\/app/);
    assert.ok(tookMs < 1_000, `withdrawn after ${Math.round(tookMs)} ms`);
    using again = harness.fetch(bad);
    assert.equal((await again.ended).code, '7');
    await sleep(2_500);
    using other = harness.fetch(good);
    await other.response(0);
    assert.equal(kept.responses.length >= 1, true);
    await assert.rejects(kept.response(99, 100), /no response 99/);
  });

  for (const [number, afterMs] of [
    [9, 350],
    [11, 680],
  ] as const)
    test(`a withdrawal ${afterMs} ms after the chip began to sign its confirmation disturbs no other container`, async () => {
      const [good, bad] = [await harness.run(number), await harness.run(number + 1)];
      await started();
      harness.node.proxy.quoteMs = 700;
      try {
        using kept = harness.fetch(good);
        using ended = harness.fetch(bad);
        await Promise.all([kept.response(0), ended.response(0)]);
        const begun = harness.quotesBegun;
        for (const began = Date.now(); harness.quotesBegun === begun; await sleep(1))
          assert.ok(Date.now() - began < 9_000);
        await sleep(afterMs);
        await harness.node.kernel.measureContainer(
          { path: '/bin/app', sha256: digestOf('changed') },
          { uid: uidOf(number + 1) },
        );
        assert.equal((await ended.ended).code, '7');
        await sleep(2_000);
        assert.equal(harness.log.filter(({ msg }) => msg.includes('next try in')).length, 0, 'the session goes on');
        assert.equal(kept.responses.length, 1);
      } finally {
        harness.node.proxy.quoteMs = 0;
      }
    });

  test('containers by the dozen get their first SVIDs under few quotes', async () => {
    const ids: string[] = [];
    for (let number = 20; number < 50; number += 1) ids.push(await harness.run(number));
    await started();
    const before = harness.node.proxy.quotes;
    const clients = ids.map((id) => harness.fetch(id));
    try {
      await Promise.all(clients.map((client) => client.response(0)));
      const quotes = harness.node.proxy.quotes - before;
      assert.ok(quotes <= 6, `${quotes} quotes for ${ids.length} containers`);
    } finally {
      for (const client of clients) client[Symbol.dispose]();
    }
  });

  test('streams outlive a restart of the server, and get new SVIDs in the next session', async () => {
    const orders = await harness.run(4);
    await started();
    using client = harness.fetch(orders);
    const first = await client.response(0);
    harness.log.length = 0;
    await server.restart();
    relay.lead(server.port);
    const second = await client.response(1);
    assert.notDeepEqual(second.svids[0]?.x509SvidKey, first.svids[0]?.x509SvidKey);
    assert.ok(!harness.logged('the node is enrolled'), 'the SVID of the agent was still good');
  });

  test('streams outlive a cut connection', async () => {
    const orders = await harness.run(7);
    await started();
    using client = harness.fetch(orders);
    await client.response(0);
    relay.cut();
    await client.response(1);
  });

  test('a server that goes silent: what asks gets nothing, and streams end with UNAVAILABLE', async () => {
    const orders = await harness.run(8);
    await started();
    using client = harness.fetch(orders);
    await client.response(0);
    const startedMs = performance.now();
    relay.hold(true);
    try {
      assert.equal((await client.ended).code, '14');
      const tookMs = performance.now() - startedMs;
      // Silence is noticed after twice the interval and 5 s; then streams wait twice the interval for another session.
      assert.ok(tookMs < 16_000, `after ${Math.round(tookMs)} ms`);
      using later = harness.fetch(orders);
      assert.equal((await later.ended).code, '14');
    } finally {
      relay.hold(false);
    }
  });

  test("streams outlive the renewal of the agent's SVID: the next session begins before the last one ends", async () => {
    const orders = await harness.run(13);
    harness.log.length = 0;
    await harness.start({ port: relay.port, bundle: await server.bundle() }, { renewalMs: () => 1_500 });
    await harness.untilLogged('the server trusts this node');
    using client = harness.fetch(orders);
    await client.response(0);
    for (const number of [1, 2]) {
      await client.response(number);
      using another = harness.fetch(orders);
      await another.response(0);
    }
    assert.ok(harness.log.filter(({ msg }) => msg === 'the node is enrolled').length >= 3);
    assert.ok(!harness.logged('next try in'), 'no session was lost');
  });

  test('a restarted agent enrols anew, with the AK that it had', async () => {
    const orders = await harness.run(5);
    await started();
    await harness.stop();
    await started();
    assert.ok(!harness.logged('a new one is made'));
    using client = harness.fetch(orders);
    await client.response(0);
  });

  test('a TPM that is reset gives nothing until the node is enrolled in a new epoch', async () => {
    await harness.run(6);
    await started();
    await harness.node.tpm.restart();
    await harness.untilLogged(/TPM|reset/);
    using client = harness.fetch(containerOf(6).id);
    const { code } = await client.ended;
    assert.ok(code === '14' || code === '7', code);
  });
});

describe('an agent that is not let in', { skip: skipWithoutSoftwareTpm() }, () => {
  let server: TestServer;
  let harness: AgentHarness;

  before(async () => {
    harness = await AgentHarness.create();
    server = await TestServer.start(harness.node.tpm.rootPath, SETTINGS);
    await server.approve();
  });
  after(async () => {
    await harness[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });
  afterEach(() => harness.stop());

  test('an EK that is not in the inventory: the sentence is logged, callers get UNAVAILABLE', async () => {
    const orders = await harness.run(1);
    await harness.start({ port: server.port, bundle: await server.bundle() });
    await harness.untilLogged('inventory');
    using client = harness.fetch(orders);
    const { code, message } = await client.ended;
    assert.equal(code, '14');
    assert.match(message, /not attested.*inventory/);
  });

  test('a server that the pinned bundle does not vouch for is told nothing', async () => {
    const other = await TestServer.start(harness.node.tpm.rootPath);
    try {
      harness.log.length = 0;
      await harness.start({ port: server.port, bundle: await other.bundle() });
      await harness.untilLogged('is not the server of the trust domain');
      assert.equal(harness.log.find(({ code }) => code !== undefined)?.code, 'agent.server.untrusted');
    } finally {
      await other[Symbol.asyncDispose]();
    }
  });

  test('a server that is down is waited for, longer each time', async () => {
    harness.log.length = 0;
    await harness.start({ port: 1, bundle: await server.bundle() });
    await sleep(4_000);
    const waits = harness.log.flatMap(({ msg }) => /next try in ([\d.]+) s/.exec(msg)?.[1] ?? []).map(Number);
    assert.ok(waits.length >= 2 && waits.length <= 6, `${waits}`);
    assert.ok((waits.at(-1) ?? 0) > (waits[0] ?? 0), `${waits}`);
  });
});
