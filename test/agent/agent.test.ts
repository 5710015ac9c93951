import assert from 'node:assert/strict';
import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { type RunningAgent, startAgent } from '../../src/agent/agent.ts';
import type { AgentConfig } from '../../src/agent/config.ts';
import { TpmClient } from '../../src/agent/tpm-client.ts';
import type { PinnedCaller } from '../../src/agent/workload-api.ts';
import { toHex } from '../../src/bytes/hex.ts';
import { decodeContainer, encodeContainer, encodeRecord, makeRecord } from '../../src/container/record.ts';
import { LacreError } from '../../src/lacre-error.ts';
import type { Container } from '../../src/proto/lacre/v1/record_pb.ts';
import {
  containerOf,
  digestOf,
  IMAGE_FILES,
  ScriptedNode,
  TestServer,
  TRUST_DOMAIN,
  uidOf,
} from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';
import { WorkloadClient } from './workload-client.ts';

const SETTINGS = 'quote_interval: 2s\n';
const SELECTORS = ['lacre:image-name:registry.test/app:1', 'lacre:attribution:exact'];

/** The agent as it is, on a real TPM and a real server; what podman and the kernel would say of containers is given. */
class AgentHarness implements AsyncDisposable {
  readonly directory: string;
  readonly node: ScriptedNode;
  readonly log: { readonly level: number; readonly msg: string; readonly code?: string }[] = [];
  readonly containers = new Map<
    string,
    { readonly container: Container; readonly bytes: Uint8Array; readonly sha256: Uint8Array }
  >();
  /** Whose the next connections are. */
  caller = '';
  #agent: RunningAgent | undefined;

  private constructor(directory: string, node: ScriptedNode) {
    this.directory = directory;
    this.node = node;
  }

  static async create(): Promise<AgentHarness> {
    return new AgentHarness(await mkdtemp(join(tmpdir(), 'lacre-agent-')), await ScriptedNode.boot());
  }

  get socket(): string {
    return join(this.directory, 'run/workload.sock');
  }

  /** A container comes up, and executes the files of its image. */
  async run(number: number, change: Partial<Container> = {}): Promise<string> {
    const container = containerOf(number, change);
    const bytes = encodeContainer(container);
    this.containers.set(container.id, { container, bytes, sha256: decodeContainer(bytes).sha256 });
    for (const { path, sha256 } of IMAGE_FILES)
      await this.node.kernel.measureContainer({ path, sha256 }, { uid: uidOf(number) });
    return container.id;
  }

  async start(server: { readonly port: number; readonly bundle: readonly Uint8Array[] }): Promise<void> {
    const config: AgentConfig = {
      trustDomain: TRUST_DOMAIN,
      server: { host: '127.0.0.1', port: server.port },
      bundle: server.bundle,
      dataDir: join(this.directory, 'data'),
      workloadSocket: this.socket,
      tpm: this.node.proxy.address,
      endorsementIntermediates: await this.node.tpm.intermediates(),
      measurementList: this.node.kernel.listPath,
      eventLog: this.node.kernel.eventLogPath,
      engine: { podman: { storage: '', run: '' } },
      log: { level: 'info', format: 'json' },
    };
    const tpm = await TpmClient.open(config.tpm);
    const write = (line: string) => {
      this.log.push(JSON.parse(line));
      if (process.env['LACRE_TEST_LOG'] !== undefined) process.stderr.write(line);
    };
    this.#agent = await startAgent(
      config,
      {
        tpm,
        containers: { seen: () => this.containers, look: async () => undefined },
        pinCaller: () => this.#pin(this.caller),
        close: () => tpm.close(),
      },
      pino({ level: 'debug', base: null }, { write }),
    );
  }

  /** The server has accepted `count` quotes or more, of a node that it trusts. */
  async untilLogged(text: string | RegExp, timeoutMs = 15_000): Promise<void> {
    for (const started = Date.now(); !this.logged(text); await sleep(10)) {
      if (Date.now() - started < timeoutMs) continue;
      assert.fail(`"${text}" was not logged:\n${this.log.map(({ msg }) => msg).join('\n')}`);
    }
  }

  logged(text: string | RegExp): boolean {
    return this.log.some(({ msg }) => (typeof text === 'string' ? msg.includes(text) : text.test(msg)));
  }

  fetch(containerId: string): WorkloadClient {
    this.caller = containerId;
    return new WorkloadClient(this.socket);
  }

  async stop(): Promise<void> {
    await this.#agent?.stop();
    this.#agent = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await this.node[Symbol.asyncDispose]();
    await rm(this.directory, { recursive: true, force: true });
  }

  #pin(containerId: string): PinnedCaller {
    return {
      uid: this.containers.get(containerId)?.container.uidMap[0]?.outside ?? 0,
      record: async () => {
        const seen = this.containers.get(containerId);
        if (seen === undefined)
          throw new LacreError('agent.caller.not-in-container', 'the process runs in no container');
        const uid = seen.container.uidMap[0]?.outside ?? 0;
        const record = makeRecord({
          containerSha256: seen.sha256,
          containerId,
          uid,
          gid: uid,
          executable: '/bin/app',
          isInitFamily: true,
        });
        return { bytes: encodeRecord(record), containerId, containerSha256Hex: toHex(seen.sha256) };
      },
      close: () => undefined,
    };
  }
}

describe('the agent with a real server and a software TPM', { skip: skipWithoutSoftwareTpm() }, () => {
  let server: TestServer;
  let harness: AgentHarness;

  before(async () => {
    harness = await AgentHarness.create();
    server = await TestServer.start(harness.node.tpm.rootPath, SETTINGS);
    await server.approve();
    await server.admin.addNode({ ekSha256: harness.node.ekSha256Hex, name: 'node-1', host: 'test-host' });
    await server.createEntry('/orders', harness.node.spiffeId, SELECTORS);
  });
  after(async () => {
    await harness[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });
  afterEach(() => harness.stop());

  async function started(): Promise<void> {
    harness.log.length = 0;
    await harness.start({ port: server.port, bundle: await server.bundle() });
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

  test('streams outlive a restart of the server, and are renewed by it', async () => {
    const orders = await harness.run(4);
    await started();
    using client = harness.fetch(orders);
    await client.response(0);
    const { port } = server;
    await server.restart();
    assert.equal(
      server.port === port,
      false,
      'the port changes in this test, so that the agent meets a server that is down',
    );
    await harness.untilLogged(/does not answer|ended/);
    await assert.rejects(client.response(1, 500), /no response 1|14/);
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
