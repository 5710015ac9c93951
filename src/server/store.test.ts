import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type TestContext, test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { isLacreError } from '../lacre-error.ts';
import { ImageReferenceSchema, ReferenceFileSchema } from '../proto/lacre/v1/admin_pb.ts';
import { Store } from './store.ts';
import { Database } from './store-database.ts';
import { EvidenceStore } from './store-evidence.ts';
import { addTestNode, TEST_EK, TEST_TIME, testCommit } from './store-fixture.ts';
import { NodeStore } from './store-nodes.ts';

function folder(context: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'lacre-store-'));
  context.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

test('the folder is 0700 and every file in it 0600', (context) => {
  const path = join(folder(context), 'deep', 'data');
  const store = Store.open(path);
  addTestNode(store.nodes);
  assert.equal(statSync(path).mode & 0o777, 0o700);
  for (const name of ['lacre.db', 'lacre.db-wal', 'lacre.db-shm']) {
    assert.equal(statSync(join(path, name)).mode & 0o777, 0o600, name);
  }
  store.close();
});

test('what was committed is there after a restart', (context) => {
  const path = folder(context);
  const first = Store.open(path);
  addTestNode(first.nodes);
  first.evidence.commitEvidence(testCommit(first.nodes.nextFence(TEST_EK), undefined, 4));
  first.close();
  const second = Store.open(path);
  assert.equal(second.evidence.epoch(TEST_EK)?.verifiedIndex, 4);
  assert.equal(second.evidence.epoch(TEST_EK)?.clock, 2n ** 63n + 5n);
  assert.ok(second.healthy());
  second.close();
  assert.ok(!second.healthy());
});

test('kill -9 in the middle of writes loses nothing that was committed, and leaves nothing half', async (context) => {
  const path = folder(context);
  for (let round = 0; round < 4; round++) {
    const acknowledged = await killed(path, 25 + round * 60);
    const store = Store.open(path);
    const index = store.evidence.epoch(TEST_EK)?.verifiedIndex ?? 0;
    assert.ok(acknowledged > 0, 'the writer wrote before it was killed');
    assert.ok(index >= acknowledged, `${index} is on disk, ${acknowledged} was acknowledged`);
    assert.equal(store.evidence.ledgerSize, index);
    assert.equal(store.evidence.activeSerials(TEST_TIME).length, index);
    store.close();
  }
});

/** Runs the writer until it has written, and `ms` more, then kills it; returns the last number it said. */
function killed(path: string, ms: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const writer = spawn(process.execPath, [join(import.meta.dirname, 'store-writer.ts'), path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let said = '';
    writer.stdout.once('data', () => setTimeout(() => writer.kill('SIGKILL'), ms));
    writer.stdout.on('data', (chunk: Buffer) => {
      said += chunk.toString('latin1');
    });
    writer.once('error', reject);
    writer.once('close', () => resolve(Number(said.slice(0, said.lastIndexOf('\n')).split('\n').at(-1))));
  });
}

test('a full disk: a clear code, nothing written, and all is well again once there is space', (context) => {
  const db = new Database(join(folder(context), 'lacre.db'));
  const [nodes, evidence] = [new NodeStore(db), new EvidenceStore(db)];
  addTestNode(nodes);
  const fence = nodes.nextFence(TEST_EK);
  evidence.commitEvidence(testCommit(fence, undefined, 1));
  const pages = Number(db.get('PRAGMA page_count')?.['page_count']);
  db.get(`PRAGMA max_page_count = ${pages + 2}`);
  const full = (error: unknown) => isLacreError(error, 'server.store.full') && error.grpcStatus === 'UNAVAILABLE';
  assert.throws(() => evidence.commitEvidence(testCommit(fence, 1, 2000)), full);
  assert.equal(evidence.epoch(TEST_EK)?.verifiedIndex, 1);
  assert.equal(evidence.ledgerSize, 1);
  assert.equal(evidence.activeSerials(TEST_TIME).length, 1);
  db.get('PRAGMA max_page_count = 1000000');
  evidence.commitEvidence(testCommit(fence, 1, 2000));
  assert.equal(evidence.ledgerSize, 2000);
  db.close();
});

test('a database of a newer Lacre, of another program, or of no program is refused', (context) => {
  const newer = folder(context);
  Store.open(newer).close();
  const db = new DatabaseSync(join(newer, 'lacre.db'));
  db.exec('PRAGMA user_version = 99');
  db.close();
  assert.throws(
    () => Store.open(newer),
    (error) => isLacreError(error, 'server.store.newer') && /99/.test(error.message),
  );

  const foreign = folder(context);
  const other = new DatabaseSync(join(foreign, 'lacre.db'));
  other.exec('CREATE TABLE theirs (a); PRAGMA user_version = 3');
  other.close();
  assert.throws(
    () => Store.open(foreign),
    (error) => isLacreError(error, 'server.store.corrupt'),
  );

  const garbage = folder(context);
  writeFileSync(join(garbage, 'lacre.db'), 'this is no database, and long enough to be seen as none'.repeat(100));
  assert.throws(
    () => Store.open(garbage),
    (error) => isLacreError(error, 'server.store.corrupt'),
  );
  assert.ok(existsSync(join(garbage, 'lacre.db')), 'it is left where it is');
});

test('a data_dir that cannot be made is told', (context) => {
  const path = join(folder(context), 'file');
  writeFileSync(path, '');
  assert.throws(
    () => Store.open(join(path, 'below')),
    (error) => isLacreError(error, 'server.store.failed'),
  );
});

test('a lock that another holds is told after a bounded wait', { timeout: 30_000 }, (context) => {
  const path = folder(context);
  const store = Store.open(path);
  const other = new DatabaseSync(join(path, 'lacre.db'));
  other.exec('BEGIN IMMEDIATE');
  assert.throws(
    () => addTestNode(store.nodes),
    (error) => isLacreError(error, 'server.store.busy'),
  );
  other.exec('ROLLBACK');
  addTestNode(store.nodes);
  other.close();
  store.close();
});

test('the ledger can be neither changed nor shortened', (context) => {
  const path = folder(context);
  const store = Store.open(path);
  addTestNode(store.nodes);
  store.evidence.commitEvidence(testCommit(store.nodes.nextFence(TEST_EK), undefined, 2));
  const other = new DatabaseSync(join(path, 'lacre.db'));
  assert.throws(() => other.exec('DELETE FROM ledger'), /append-only/);
  assert.throws(() => other.exec("UPDATE ledger SET body = x'00'"), /append-only/);
  other.close();
  store.close();
});

test('reference values of 100,000 files are kept and listed without them', () => {
  const store = Store.openInMemory();
  const files = Array.from({ length: 100_000 }, (_, index) =>
    create(ReferenceFileSchema, {
      path: `/usr/lib/file-${index}`,
      sha256: new Uint8Array(32).fill(index & 0xff),
      mode: 0o644,
    }),
  );
  const reference = create(ImageReferenceSchema, { manifestDigest: 'sha256:aa', names: ['demo'] });
  store.images.put(reference, files, TEST_TIME);
  store.images.put(create(ImageReferenceSchema, { ...reference, names: ['demo:2'] }), files, TEST_TIME);
  assert.deepEqual(
    store.images.list().map(({ reference: { names } }) => names),
    [['demo:2']],
  );
  assert.equal(store.images.files('sha256:aa').length, 100_000);
  assert.deepEqual(store.images.files('sha256:aa')[7]?.path, '/usr/lib/file-7');
  assert.ok(store.images.remove('sha256:aa'));
  assert.ok(!store.images.remove('sha256:aa'));
  assert.deepEqual(store.images.files('sha256:aa'), []);
  assert.equal(store.images.get('sha256:aa'), undefined);
});
