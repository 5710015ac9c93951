import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { openLog } from '../../src/log.ts';
import { adminSpireRoutes } from '../../src/server/admin-spire.ts';
import { AuthorityKeeper } from '../../src/server/authority-keeper.ts';
import { parseConfig } from '../../src/server/config.ts';
import { type ServerDeps, ServerEvents, SYSTEM_CLOCK } from '../../src/server/server-deps.ts';
import { type SocketListener, startSocketListener } from '../../src/server/server-socket-listener.ts';
import { Store } from '../../src/server/store.ts';
import { interopProgram } from './interop-program.ts';

/** A selector of an image with such a digest. */
const image = (byte: string): string => `lacre:image:sha256:${byte.repeat(32)}`;

const program = interopProgram('spire-server');
const skip = 'absent' in program ? program.absent : false;
const AGENT = 'spiffe://lab.example/spire/agent/lacre_tpm/00112233445566778899aabbccddeeff';
const EK = '00112233445566778899aabbccddeeff'.repeat(2);

interface Run {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

interface JsonEntry {
  readonly id: string;
  readonly spiffe_id: { readonly trust_domain: string; readonly path: string };
  readonly parent_id: { readonly path: string };
  readonly selectors: readonly { readonly type: string; readonly value: string }[];
  readonly x509_svid_ttl: number;
  readonly dns_names: readonly string[];
  readonly hint: string;
  readonly revision_number: string;
}

describe('the unmodified spire-server command on the admin socket', { skip }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'lacre-cli-'));
  const socket = join(folder, 'admin', 'admin.sock');
  let deps: ServerDeps;
  let listener: SocketListener;
  let changes = 0;

  before(async () => {
    const text = `trust_domain: lab.example\ndata_dir: ${folder}/data\nadmin: { socket: ${socket} }\n`;
    const config = parseConfig('test.yaml', text);
    const store = Store.open(config.dataDir);
    const { trustDomain, dataDir, ca } = config;
    const options = { trustDomain, dataDir, key: ca.key, ttlMs: ca.ttlMs, subject: ca.subject };
    const keeper = AuthorityKeeper.open(options, new Date());
    const log = openLog({ level: 'silent', format: 'json' });
    deps = { config, store, keeper, log, clock: SYSTEM_CLOCK, events: new ServerEvents() };
    deps.events.on('entriesChanged', () => {
      changes += 1;
    });
    listener = await startSocketListener({ socket }, [adminSpireRoutes(deps)]);
  });

  after(async () => {
    await listener?.close();
    deps?.store.close();
    rmSync(folder, { recursive: true });
  });

  function spire(...args: string[]): Promise<Run> {
    const path = 'path' in program ? program.path : '';
    return new Promise((resolve) => {
      execFile(path, [...args, '-socketPath', socket], { timeout: 60_000 }, (error, stdout, stderr) => {
        const status = error === null ? 0 : typeof error.code === 'number' ? error.code : 1;
        resolve({ status, stdout, stderr });
      });
    });
  }

  async function listed(...filters: string[]): Promise<string[]> {
    const run = await spire('entry', 'show', '-output', 'json', ...filters);
    assert.equal(run.status, 0, run.stderr);
    const { entries } = JSON.parse(run.stdout) as { entries: JsonEntry[] };
    return entries.map(({ spiffe_id }) => spiffe_id.path).sort();
  }

  async function createEntry(path: string, ...args: string[]): Promise<JsonEntry> {
    const id = `spiffe://lab.example${path}`;
    const run = await spire('entry', 'create', '-output', 'json', '-parentID', AGENT, '-spiffeID', id, ...args);
    assert.equal(run.status, 0, run.stderr);
    const { results } = JSON.parse(run.stdout) as { results: { status: { code: number }; entry: JsonEntry }[] };
    const [result] = results;
    assert.ok(result);
    assert.equal(result.status.code, 0);
    return result.entry;
  }

  test('healthcheck says healthy while the store answers', async () => {
    const run = await spire('healthcheck');
    assert.equal(run.status, 0, run.stderr);
    assert.match(run.stdout, /Server is healthy/);
  });

  test('entry create gives all fields back, and a second like it is told from the first', async () => {
    const before = changes;
    const args = ['-selector', image('aa'), '-selector', 'docker:label:app:orders'];
    const more = ['-x509SVIDTTL', '120', '-dns', 'orders.lab.example', '-hint', 'main'];
    const entry = await createEntry('/orders', ...args, ...more);
    assert.deepEqual(entry.spiffe_id, { trust_domain: 'lab.example', path: '/orders' });
    assert.equal(`spiffe://lab.example${entry.parent_id.path}`, AGENT);
    assert.deepEqual(entry.selectors.map(({ type, value }) => `${type}:${value}`).sort(), [
      'docker:label:app:orders',
      image('aa'),
    ]);
    assert.equal(entry.x509_svid_ttl, 120);
    assert.deepEqual(entry.dns_names, ['orders.lab.example']);
    assert.equal(entry.hint, 'main');
    assert.equal(changes, before + 1);
    const again = await spire(
      'entry',
      'create',
      '-parentID',
      AGENT,
      '-spiffeID',
      'spiffe://lab.example/orders',
      ...args,
    );
    assert.equal(again.status, 1);
    assert.match(again.stderr, /AlreadyExists.*similar entry already exists/);
    assert.equal(deps.store.entries.count(), 1);
    assert.equal(changes, before + 1);
  });

  test('entry show filters by SPIFFE ID, parent, selectors in all four ways, and hint', async () => {
    await createEntry('/payments', '-selector', image('bb'), '-selector', 'docker:label:app:payments');
    await createEntry('/audit', '-selector', image('bb'));
    assert.deepEqual(await listed(), ['/audit', '/orders', '/payments']);
    assert.deepEqual(await listed('-spiffeID', 'spiffe://lab.example/audit'), ['/audit']);
    assert.deepEqual(await listed('-parentID', 'spiffe://lab.example/other'), []);
    assert.deepEqual(await listed('-hint', 'main'), ['/orders']);
    const bb = ['-selector', image('bb')];
    assert.deepEqual(await listed(...bb, '-matchSelectorsOn', 'superset'), ['/audit', '/payments']);
    assert.deepEqual(await listed(...bb, '-matchSelectorsOn', 'exact'), ['/audit']);
    assert.deepEqual(await listed(...bb, '-matchSelectorsOn', 'subset'), ['/audit']);
    const two = [...bb, '-selector', 'docker:label:app:orders'];
    assert.deepEqual(await listed(...two, '-matchSelectorsOn', 'any'), ['/audit', '/orders', '/payments']);
    const count = await spire('entry', 'count', '-output', 'json');
    assert.equal((JSON.parse(count.stdout) as { count: number }).count, 3);
  });

  test('entry update changes the entry and its revision', async () => {
    const [audit] = deps.store.entries.list({ spiffeId: 'spiffe://lab.example/audit' });
    assert.ok(audit);
    const fields = ['-parentID', AGENT, '-spiffeID', 'spiffe://lab.example/audit', '-selector', image('cc')];
    const run = await spire('entry', 'update', '-entryID', audit.id, ...fields, '-x509SVIDTTL', '60');
    assert.equal(run.status, 0, run.stderr);
    const after = deps.store.entries.get(audit.id);
    assert.deepEqual(after?.selectors, [{ type: 'lacre', value: image('cc').slice('lacre:'.length) }]);
    assert.equal(after?.x509SvidTtl, 60);
    assert.equal(after?.revision, audit.revision + 1);
    const missing = await spire('entry', 'update', '-entryID', 'no-such-entry', ...fields);
    assert.equal(missing.status, 1);
    assert.match(missing.stderr, /NotFound/);
  });

  test('entry create refuses what it must, with the reason', async () => {
    const good = ['-parentID', AGENT, '-spiffeID', 'spiffe://lab.example/x', '-selector', 'unix:uid:1'];
    const refused: readonly [string[], RegExp][] = [
      [['-parentID', 'spiffe://other.example/a', ...good.slice(2)], /InvalidArgument.*not a member of trust domain/],
      [
        [...good.slice(0, 3), 'spiffe://lab.example/spire/agent/x', ...good.slice(4)],
        /InvalidArgument.*reserved namespace/,
      ],
      [[...good, '-dns', 'not_a_name'], /InvalidArgument.*invalid DNS name/],
      [[...good, '-x509SVIDTTL', '999999'], /InvalidArgument.*X509SvidTtl/],
      [[...good, '-downstream'], /Unimplemented.*downstream/],
      [[...good, '-federatesWith', 'spiffe://other.example'], /Unimplemented.*federation/],
    ];
    for (const [args, reason] of refused) {
      const run = await spire('entry', 'create', ...args);
      assert.equal(run.status, 1, args.join(' '));
      assert.match(run.stderr, reason);
    }
    assert.equal(deps.store.entries.count(), 3);
  });

  test('entry delete deletes, and says so where there is nothing to delete', async () => {
    const [orders] = deps.store.entries.list({ spiffeId: 'spiffe://lab.example/orders' });
    assert.ok(orders);
    const run = await spire('entry', 'delete', '-entryID', orders.id);
    assert.equal(run.status, 0, run.stderr);
    assert.deepEqual(await listed(), ['/audit', '/payments']);
    const again = await spire('entry', 'delete', '-entryID', orders.id);
    assert.equal(again.status, 1);
    assert.match(again.stderr, /NotFound/);
  });

  test('entry show reads more entries than fit into one page', async () => {
    const [model] = deps.store.entries.list();
    assert.ok(model);
    deps.store.transaction(() => {
      for (let index = 0; index < 1200; index++) {
        deps.store.entries.put({ ...model, id: `page-${index}`, spiffeId: `spiffe://lab.example/page/${index}` });
      }
    });
    assert.equal((await listed()).length, 1202);
  });

  test('agent list, show, ban and evict speak of nodes that have enrolled', async () => {
    const now = new Date();
    deps.store.nodes.add({ ekSha256Hex: EK, spiffeId: AGENT, name: 'node-1' }, now);
    assert.match((await spire('agent', 'list')).stdout, /No attested agents found/);
    const certificateExpiresAt = new Date(now.getTime() + 3_600_000);
    deps.store.nodes.update(EK, {
      state: 'attested',
      rootOfTrust: 'software',
      certificateSerialHex: 'ff',
      certificateExpiresAt,
    });
    const list = await spire('agent', 'list', '-output', 'json');
    const [agent] = (JSON.parse(list.stdout) as { agents: Record<string, unknown>[] }).agents;
    assert.equal(agent?.['attestation_type'], 'lacre_tpm');
    assert.equal(agent?.['x509svid_serial_number'], '255');
    assert.match((await spire('agent', 'show', '-spiffeID', AGENT)).stdout, /lacre_tpm:root:software/);
    const serial = { serialHex: 'ab', containerId: 'c', spiffeId: 'spiffe://lab.example/x', evidenceAt: now };
    const fence = deps.store.nodes.nextFence(EK);
    const issued = [{ ...serial, expiresAt: certificateExpiresAt }];
    deps.store.evidence.commitIssued({ ekSha256Hex: EK, fence, issued, ledger: [] });
    const ban = await spire('agent', 'ban', '-spiffeID', AGENT);
    assert.equal(ban.status, 0, ban.stderr);
    assert.equal(deps.store.nodes.get(EK)?.banned, true);
    assert.notEqual(deps.store.evidence.serial('ab')?.withdrawnAt, undefined);
    const evict = await spire('agent', 'evict', '-spiffeID', AGENT);
    assert.equal(evict.status, 0, evict.stderr);
    assert.equal(deps.store.nodes.get(EK)?.state, 'expected');
  });

  test('bundle show gives the certificates that sign', async () => {
    const run = await spire('bundle', 'show');
    assert.equal(run.status, 0, run.stderr);
    const shown = new X509Certificate(run.stdout);
    assert.deepEqual(new Uint8Array(shown.raw), deps.keeper.current().certificate);
  });

  test('a method that Lacre does not serve ends with Unimplemented', async () => {
    const run = await spire('x509', 'mint', '-spiffeID', 'spiffe://lab.example/x');
    assert.equal(run.status, 1);
    assert.match(run.stderr, /Unimplemented.*lacre does not serve/);
  });
});
