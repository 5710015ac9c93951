import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import { Code, type ConnectError, createClient, createRouterTransport } from '@connectrpc/connect';
import { AdminClient } from '../cli/admin-client.ts';
import { openLog } from '../log.ts';
import { Health } from '../proto/grpc/health/v1/health_pb.ts';
import { AddNodeRequestSchema, Admin } from '../proto/lacre/v1/admin_pb.ts';
import { NodeVerifier, type WatchHostsResponse } from '../proto/lacre/v1/spire_pb.ts';
import { Agent } from '../proto/spire/api/server/agent/v1/agent_pb.ts';
import { Bundle } from '../proto/spire/api/server/bundle/v1/bundle_pb.ts';
import { Entry } from '../proto/spire/api/server/entry/v1/entry_pb.ts';
import { addNode } from './admin-lacre-nodes.ts';
import { AuthorityKeeper } from './authority-keeper.ts';
import { parseConfig } from './config.ts';
import { LIMITS } from './limits.ts';
import { nodeVerifierRoutes } from './node-verifier.ts';
import { startServer } from './server.ts';
import { ServerEvents, SYSTEM_CLOCK } from './server-deps.ts';
import { Store } from './store.ts';

/** A server with both sockets, and a client of each. */
async function started(context: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'lacre-verifier-'));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  const paths = { admin: join(folder, 'run', 'admin.sock'), verifier: join(folder, 'verifier', 'verifier.sock') };
  const text = [
    'trust_domain: lab.example',
    'listen: 127.0.0.1:0',
    `data_dir: ${folder}/data`,
    `admin: { socket: ${paths.admin} }`,
    `verifier: { socket: ${paths.verifier} }`,
  ].join('\n');
  const server = await startServer(parseConfig('t.yaml', text), { log: openLog({ level: 'silent', format: 'json' }) });
  context.after(() => server.close());
  const [admin, verifier] = [new AdminClient(paths.admin), new AdminClient(paths.verifier)];
  context.after(() => {
    for (const client of [admin, verifier]) client[Symbol.dispose]();
  });
  return { admin, verifier, paths };
}

const unimplemented = (error: ConnectError) => error.code === Code.Unimplemented;

test("spire-server's plugins get no administrator's rights, and administrators no second door", async (context) => {
  const { admin, verifier, paths } = await started(context);
  assert.equal(statSync(paths.verifier).mode & 0o777, 0o600);
  await assert.rejects(verifier.service(Admin).listNodes({}), unimplemented);
  await assert.rejects(verifier.service(Entry).listEntries({}), unimplemented);
  await assert.rejects(verifier.service(Bundle).getBundle({}), unimplemented);
  await assert.rejects(verifier.service(Agent).banAgent({}), unimplemented);
  await assert.rejects(verifier.service(Health).check({}), unimplemented);
  const hosts = admin.service(NodeVerifier).watchHosts({})[Symbol.asyncIterator]();
  await assert.rejects(hosts.next(), unimplemented);
});

/** The verifier alone, over a store that the test writes to. */
function alone(context: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'lacre-verifier-'));
  const config = parseConfig('t.yaml', `trust_domain: lab.example\ndata_dir: ${folder}`);
  const { dataDir, ca, trustDomain } = config;
  const keeper = AuthorityKeeper.open(
    { trustDomain, dataDir, key: ca.key, ttlMs: ca.ttlMs, subject: ca.subject },
    new Date(),
  );
  const log = openLog({ level: 'silent', format: 'json' });
  const deps = { config, store: Store.open(dataDir), keeper, log, clock: SYSTEM_CLOCK, events: new ServerEvents() };
  deps.events.setMaxListeners(0);
  context.after(() => {
    deps.store.close();
    rmSync(folder, { recursive: true, force: true });
  });
  return { deps, client: createClient(NodeVerifier, createRouterTransport(nodeVerifierRoutes(deps))) };
}

test('hosts that are refused are told at once, and again after a change', { timeout: 20_000 }, async (context) => {
  const { deps, client } = alone(context);
  const ids = ['ab', 'cd', 'ef'].map(
    (byte) => addNode(deps, create(AddNodeRequestSchema, { ekSha256: byte.repeat(32) })).spiffeId,
  );
  const change = (byte: string, to: { readonly state?: 'refused' | 'attested'; readonly banned?: boolean }) => {
    deps.store.nodes.update(byte.repeat(32), to);
    deps.events.emit('nodeChanged', byte.repeat(32));
  };
  const stop = new AbortController();
  const looks = client.watchHosts({}, { signal: stop.signal })[Symbol.asyncIterator]();
  const next = async () => {
    const { hosts, complete }: WatchHostsResponse = (await looks.next()).value;
    assert.equal(complete, true);
    return hosts.map(({ spiffeId, reason }) => [ids.indexOf(spiffeId), reason]);
  };
  assert.deepEqual(await next(), []);
  change('ab', { state: 'refused' });
  assert.deepEqual(await next(), [[0, 'its host is refused']]);
  change('cd', { banned: true });
  change('ab', { state: 'attested' });
  assert.deepEqual(await next(), [[1, 'it is banned at the Lacre server']]);
  stop.abort();
  await assert.rejects(looks.next());
});

test('more hosts than one message takes: the look ends with the last of them', { timeout: 20_000 }, async (context) => {
  const { deps, client } = alone(context);
  deps.store.transaction(() => {
    for (let count = 0; count < 1_001; count += 1) {
      const ekSha256Hex = count.toString(16).padStart(64, '0');
      const spiffeId = `spiffe://lab.example/spire/agent/lacre_tpm/${count}`;
      deps.store.nodes.add({ ekSha256Hex, spiffeId, name: '', hostReference: '' }, new Date());
      deps.store.nodes.update(ekSha256Hex, { state: 'refused' });
    }
  });
  const sizes: [number, boolean][] = [];
  for await (const { hosts, complete } of client.watchHosts({})) {
    sizes.push([hosts.length, complete]);
    if (complete) break;
  }
  assert.deepEqual(sizes, [
    [1_000, false],
    [1, true],
  ]);
});

test('watchers are counted, and a place is free again when one leaves', { timeout: 20_000 }, async (context) => {
  const { verifier } = await started(context);
  const client = verifier.service(NodeVerifier);
  const places = Array.from({ length: LIMITS.watchers }, () => new AbortController());
  const open = (signal: AbortSignal) => client.watchHosts({}, { signal })[Symbol.asyncIterator]().next();
  for (const { signal } of places) assert.equal((await open(signal)).done, false);
  const another = new AbortController();
  await assert.rejects(open(another.signal), (error: ConnectError) => error.code === Code.ResourceExhausted);
  for (const place of places) place.abort();
  await delay(300);
  assert.equal((await open(another.signal)).done, false);
  another.abort();
});
