import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Http2Server } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Code, ConnectError, type ConnectRouter } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { NodeVerifier } from '../proto/lacre/v1/spire_pb.ts';
import { Agent } from '../proto/spire/api/server/agent/v1/agent_pb.ts';
import { UnixClient } from '../unix-client.ts';
import { HostWatch } from './host-watch.ts';
import { openPluginLog } from './plugin-log.ts';

const DOMAIN = 'lacre.test';
const PATH = `/spire/agent/lacre_tpm/${'0a'.repeat(16)}`;
const NODE = `spiffe://${DOMAIN}${PATH}`;
/** Long enough for a loaded machine to have two looks in it. */
const AGAIN_MS = 1_000;

/**
 * A Lacre server that tells of hosts when the test says so, and a spire-server whose agents the test makes: both over
 * real sockets. The race between an attestation and an eviction can't be forced on the real programs.
 */
class Bed implements AsyncDisposable {
  /** Paths of the agents that spire-server has. */
  readonly agents = new Set<string>();
  readonly calls: string[] = [];
  readonly log: string[] = [];
  /** What spire-server answers in place of acting. */
  refusal: ConnectError | undefined;
  readonly #folder = mkdtempSync(join(tmpdir(), 'lacre-watch-'));
  readonly #looks: { hosts: { spiffeId: string; reason: string }[]; complete: boolean }[] = [];
  #wake: () => void = () => undefined;
  #served: Http2Server[] = [];
  #watch: HostWatch | undefined;

  async start(action: 'evict' | 'ban'): Promise<void> {
    const verifier = await this.#serve('verifier', (router) => {
      router.service(NodeVerifier, {
        watchHosts: (_request, { signal }) => this.#tell(signal),
      });
    });
    const spire = await this.#serve('spire', (router) => {
      const act = (verb: string, path: string) => {
        this.calls.push(`${verb} ${path}`);
        if (this.refusal !== undefined) throw this.refusal;
        if (!this.agents.has(path)) throw new ConnectError('no such agent', Code.NotFound);
        if (verb === 'evict') this.agents.delete(path);
        return {};
      };
      router.service(Agent, {
        deleteAgent: ({ id }) => act('evict', id?.path ?? ''),
        banAgent: ({ id }) => act('ban', id?.path ?? ''),
      });
    });
    this.#watch = new HostWatch({
      verifier: new UnixClient(verifier),
      spire: new UnixClient(spire),
      action,
      trustDomain: DOMAIN,
      log: openPluginLog((line) => this.log.push(line)),
      againMs: AGAIN_MS,
    });
    this.#watch.start();
  }

  /** One look at all hosts; these are refused. */
  look(...spiffeIds: string[]): void {
    this.#looks.push({ hosts: spiffeIds.map((spiffeId) => ({ spiffeId, reason: 'it is bad' })), complete: true });
    this.#wake();
  }

  async until(holds: () => boolean, meanwhile: () => void = () => undefined): Promise<void> {
    for (const started = performance.now(); !holds(); await delay(20)) {
      meanwhile();
      assert.ok(performance.now() - started < 20_000, `calls: ${this.calls.join()}; log: ${this.log.join()}`);
    }
  }

  said(text: RegExp): number {
    return this.log.filter((line) => text.test(line)).length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#watch?.stop();
    for (const server of this.#served) server.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async *#tell(signal: AbortSignal) {
    signal.addEventListener('abort', () => this.#wake(), { once: true });
    while (!signal.aborted) {
      const next = this.#looks.shift();
      if (next !== undefined) yield next;
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
    }
  }

  async #serve(name: string, routes: (router: ConnectRouter) => void): Promise<string> {
    const path = join(this.#folder, `${name}.sock`);
    const server = createServer(connectNodeAdapter({ routes, connect: false, grpcWeb: false })).listen(path);
    await once(server, 'listening');
    this.#served.push(server);
    return path;
  }
}

test('an agent that an attestation under way makes after the eviction is evicted at the next look', async () => {
  await using bed = new Bed();
  await bed.start('evict');
  bed.look(NODE);
  await bed.until(() => bed.calls.length === 1);
  assert.equal(bed.said(/is evicted/), 0, 'it was not there yet');
  bed.agents.add(PATH);
  bed.look(NODE);
  await delay(AGAIN_MS / 4);
  assert.equal(bed.calls.length, 1, 'not twice in one interval');
  await bed.until(
    () => bed.agents.size === 0,
    () => bed.look(NODE),
  );
  await bed.until(() => bed.said(new RegExp(`agent ${NODE} is evicted: it is bad`)) === 1);
});

test('a host that is trusted again, and refused anew, is acted on at once', async () => {
  await using bed = new Bed();
  await bed.start('evict');
  bed.agents.add(PATH);
  bed.look(NODE);
  await bed.until(() => bed.agents.size === 0);
  const evicted = performance.now();
  bed.look();
  bed.agents.add(PATH);
  bed.look(NODE);
  await bed.until(() => bed.agents.size === 0);
  assert.equal(bed.calls.length, 2);
  assert.ok(performance.now() - evicted < AGAIN_MS, 'without waiting');
});

test('banned again and again, and told of once', async () => {
  await using bed = new Bed();
  await bed.start('ban');
  bed.agents.add(PATH);
  await bed.until(
    () => bed.calls.length === 2,
    () => bed.look(NODE),
  );
  assert.deepEqual(bed.calls, [`ban ${PATH}`, `ban ${PATH}`]);
  assert.equal(bed.said(/is banned/), 1);
});

test('agents of other attestors and other trust domains are none of its business', async () => {
  await using bed = new Bed();
  await bed.start('evict');
  const others = [
    `spiffe://${DOMAIN}/spire/agent/join_token/4d3e`,
    `spiffe://${DOMAIN}/spire/agent/lacre_tpm_other/00`,
    `spiffe://${DOMAIN}/spire/agent/lacre_tpm`,
    `spiffe://${DOMAIN}.evil${PATH}`,
    `spiffe://other.test${PATH}`,
    PATH,
    '',
  ];
  bed.look(...others, NODE);
  await bed.until(() => bed.calls.length > 0);
  await delay(50);
  assert.deepEqual(bed.calls, [`evict ${PATH}`], 'its own alone');
});

test('a spire-server that refuses is told of, and asked again with the next stream', async () => {
  await using bed = new Bed();
  await bed.start('evict');
  bed.agents.add(PATH);
  bed.refusal = new ConnectError('not from here', Code.PermissionDenied);
  bed.look(NODE);
  await bed.until(() => bed.said(/no agent is evicted: .*spire-server did not evict .*: not from here/) === 1);
  bed.refusal = undefined;
  await bed.until(
    () => bed.agents.size === 0,
    () => bed.look(NODE),
  );
  await bed.until(() => bed.said(/hosts are looked at again/) === 1);
});
