import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { type Client, Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import type { ErrorCode } from '../error-code.ts';
import { openLog } from '../log.ts';
import { Health } from '../proto/grpc/health/v1/health_pb.ts';
import { Agent } from '../proto/spire/api/server/agent/v1/agent_pb.ts';
import { Bundle } from '../proto/spire/api/server/bundle/v1/bundle_pb.ts';
import { Entry } from '../proto/spire/api/server/entry/v1/entry_pb.ts';
import { EntryMaskSchema } from '../proto/spire/api/types/entry_pb.ts';
import { adminSpireRoutes } from './admin-spire.ts';
import { AuthorityKeeper } from './authority-keeper.ts';
import { parseConfig } from './config.ts';
import { type ServerDeps, ServerEvents } from './server-deps.ts';
import { type SocketListener, startSocketListener } from './server-socket-listener.ts';
import { Store } from './store.ts';

const NOW = new Date('2026-05-01T12:00:00.000Z');
const trustDomain = 'lab.example';
/** An error of a call: its gRPC status, and the code that the server names in the trailer. */
const code = (wanted: Code, lacreCode?: ErrorCode) => (error: unknown) => {
  assert.ok(error instanceof ConnectError, String(error));
  assert.equal(error.code, wanted);
  if (lacreCode !== undefined) assert.equal(error.metadata.get('lacre-code'), lacreCode);
  return true;
};

describe("SPIRE's server API on the admin socket", () => {
  const folder = mkdtempSync(join(tmpdir(), 'lacre-admin-'));
  const socket = join(folder, 'admin.sock');
  const sessions = new Http2SessionManager(
    'http://localhost',
    {},
    { createConnection: () => createConnection(socket) },
  );
  const transport = createGrpcTransport({ baseUrl: 'http://localhost', sessionManager: sessions });
  const entries: Client<typeof Entry> = createClient(Entry, transport);
  const agents = createClient(Agent, transport);
  const bundles = createClient(Bundle, transport);
  const health = createClient(Health, transport);
  let deps: ServerDeps;
  let listener: SocketListener;

  before(async () => {
    const config = parseConfig('t.yaml', `trust_domain: ${trustDomain}\ndata_dir: ${folder}/data`);
    const { dataDir, ca } = config;
    const options = { trustDomain: config.trustDomain, dataDir, key: ca.key, ttlMs: ca.ttlMs, subject: ca.subject };
    const keeper = AuthorityKeeper.open(options, NOW);
    const log = openLog({ level: 'silent', format: 'json' });
    deps = { config, store: Store.open(dataDir), keeper, log, clock: { now: () => NOW }, events: new ServerEvents() };
    listener = await startSocketListener({ socket }, [adminSpireRoutes(deps)]);
  });

  after(async () => {
    sessions.abort();
    await listener.close();
    deps.store.close();
    rmSync(folder, { recursive: true });
  });

  const wanted = (path: string) => ({
    spiffeId: { trustDomain, path },
    parentId: { trustDomain, path: '/node' },
    selectors: [{ type: 'unix', value: 'uid:1' }],
  });

  test('a batch answers item by item: one bad item spoils no other', async () => {
    const { results } = await entries.batchCreateEntry({
      entries: [wanted('/a'), { ...wanted('/b'), selectors: [] }, { ...wanted('/c'), id: 'my-id' }, wanted('/a')],
    });
    assert.deepEqual(
      results.map(({ status }) => status?.code),
      [0, Code.InvalidArgument, 0, Code.AlreadyExists],
    );
    assert.equal(results[2]?.entry?.id, 'my-id');
    assert.equal(results[3]?.entry?.id, results[0]?.entry?.id, 'the entry that exists is given back');
    assert.equal(results[0]?.entry?.createdAt, BigInt(NOW.getTime() / 1000));
    assert.equal(deps.store.entries.count(), 2);
  });

  test('an output mask leaves the id and what it names; an input mask changes what it names', async () => {
    const hintOnly = create(EntryMaskSchema, { hint: true });
    const { results } = await entries.batchUpdateEntry({
      entries: [{ id: 'my-id', hint: 'new', x509SvidTtl: 77 }],
      inputMask: hintOnly,
      outputMask: hintOnly,
    });
    const [result] = results;
    assert.equal(result?.status?.code, 0);
    assert.equal(result?.entry?.hint, 'new');
    assert.equal(result?.entry?.spiffeId, undefined);
    const stored = await entries.getEntry({ id: 'my-id' });
    assert.equal(stored.x509SvidTtl, 0);
    assert.equal(stored.spiffeId?.path, '/c');
    assert.equal(stored.revisionNumber, 1n);
  });

  test('an update that would make two entries alike is refused', async () => {
    const { results } = await entries.batchUpdateEntry({ entries: [{ ...wanted('/a'), id: 'my-id' }] });
    assert.equal(results[0]?.status?.code, Code.AlreadyExists);
    assert.equal(deps.store.entries.get('my-id')?.spiffeId, 'spiffe://lab.example/c');
  });

  test('malformed requests end with InvalidArgument', async () => {
    const invalid = code(Code.InvalidArgument, 'server.entry.invalid');
    await assert.rejects(entries.getEntry({ id: '' }), invalid);
    await assert.rejects(entries.listEntries({ pageSize: 1, pageToken: '1; DROP TABLE entries' }), invalid);
    await assert.rejects(
      entries.listEntries({ filter: { byParentId: { trustDomain: 'other.example', path: '/x' } } }),
      invalid,
    );
    await assert.rejects(entries.listEntries({ filter: { bySelectors: { selectors: [] } } }), invalid);
    await assert.rejects(entries.listEntries({ filter: { byFederatesWith: { trustDomains: [] } } }), invalid);
    const strange = { selectors: [{ type: 'a', value: 'b' }], match: 9 as never };
    await assert.rejects(entries.listEntries({ filter: { bySelectors: strange } }), invalid);
    await assert.rejects(agents.listAgents({ filter: { byExpiresBefore: 'tomorrow' } }), invalid);
    await assert.rejects(entries.getEntry({ id: 'none' }), code(Code.NotFound, 'server.entry.missing'));
    await assert.rejects(agents.getAgent({ id: { trustDomain, path: '/none' } }), code(Code.NotFound));
  });

  test("what is for SPIRE's agents is Unimplemented", async () => {
    const unsupported = code(Code.Unimplemented, 'server.entry.unsupported');
    await assert.rejects(entries.getAuthorizedEntries({}), unsupported);
    await assert.rejects(async () => {
      for await (const _ of entries.syncAuthorizedEntries((async function* () {})())) assert.fail('an answer');
    }, unsupported);
  });

  test('agents are filtered and paged', async () => {
    for (let index = 0; index < 5; index++) {
      const ek = String(index).repeat(64);
      deps.store.nodes.add(
        { ekSha256Hex: ek, spiffeId: `spiffe://${trustDomain}/spire/agent/lacre_tpm/${index}` },
        NOW,
      );
      const certificateExpiresAt = new Date(NOW.getTime() + index * 60_000);
      deps.store.nodes.update(ek, {
        state: 'attested',
        banned: index === 4,
        rootOfTrust: 'vtpm',
        certificateExpiresAt,
      });
    }
    const paths: (string | undefined)[] = [];
    for (let pageToken = ''; ; ) {
      const page = await agents.listAgents({ pageSize: 2, pageToken });
      paths.push(...page.agents.map(({ id }) => id?.path.slice(-1)));
      pageToken = page.nextPageToken;
      if (pageToken === '') break;
    }
    assert.deepEqual(paths, ['0', '1', '2', '3', '4']);
    const count = async (filter: Parameters<typeof agents.countAgents>[0]['filter']) =>
      (await agents.countAgents({ ...(filter !== undefined && { filter }) })).count;
    assert.equal(await count({ byBanned: true }), 1);
    assert.equal(await count({ byCanReattest: false }), 0);
    assert.equal(await count({ byAttestationType: 'join_token' }), 0);
    assert.equal(await count({ byExpiresBefore: '2026-05-01 12:02:00 +0000 +00' }), 2);
    assert.equal(await count({ byExpiresBefore: '2026-05-01 14:02:00 +0200 CEST' }), 2);
    const vtpm = [{ type: 'lacre_tpm', value: 'root:vtpm' }];
    assert.equal(await count({ bySelectorMatch: { selectors: vtpm, match: 2 } }), 5);
    assert.equal(await count({ bySelectorMatch: { selectors: vtpm, match: 0 } }), 0);
  });

  test('an evicted or banned agent is fenced, and what it holds is withdrawn', async () => {
    const ek = '0'.repeat(64);
    const fence = deps.store.nodes.nextFence(ek);
    const serial = {
      serialHex: '05',
      containerId: '',
      spiffeId: 's',
      evidenceAt: NOW,
      expiresAt: new Date(NOW.getTime() + 1000),
    };
    deps.store.evidence.commitIssued({ ekSha256Hex: ek, fence, issued: [serial], ledger: [] });
    const told: string[] = [];
    deps.events.on('nodeChanged', (node) => told.push(node));
    await agents.deleteAgent({ id: { trustDomain, path: '/spire/agent/lacre_tpm/0' } });
    assert.deepEqual(told, [ek]);
    assert.deepEqual(deps.store.evidence.serial('05')?.withdrawnAt, NOW);
    assert.throws(() => deps.store.evidence.commitIssued({ ekSha256Hex: ek, fence, issued: [], ledger: [] }), {
      code: 'server.store.fenced',
    });
  });

  test('the bundle is that of the keeper, and its parts can be left out', async () => {
    const bundle = await bundles.getBundle({});
    assert.equal(bundle.trustDomain, trustDomain);
    assert.deepEqual(
      bundle.x509Authorities.map(({ asn1 }) => asn1),
      deps.keeper.bundle(),
    );
    assert.equal(bundle.sequenceNumber, BigInt(deps.keeper.sequence));
    const bare = await bundles.getBundle({ outputMask: {} });
    assert.equal(bare.x509Authorities.length, 0);
    assert.equal((await bundles.listFederatedBundles({})).bundles.length, 0);
  });

  test('health: serving while the store answers; an unknown service is not found', async () => {
    assert.equal((await health.check({})).status, 1);
    await assert.rejects(health.check({ service: 'x' }), code(Code.NotFound));
    const stop = new AbortController();
    for await (const { status } of health.watch({}, { signal: stop.signal })) {
      assert.equal(status, 1);
      break;
    }
    stop.abort();
  });

  test('health: not serving once the store is closed', async () => {
    deps.store.close();
    assert.equal((await health.check({})).status, 2);
    await assert.rejects(
      entries.countEntries({}),
      (error) => error instanceof ConnectError && error.code !== Code.Unknown,
    );
  });
});
