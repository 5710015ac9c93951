import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Database } from './store-database.ts';

function open(context: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'lacre-log-'));
  const path = join(folder, 'lacre.db');
  const db = new Database(path);
  context.after(() => {
    db.close();
    rmSync(folder, { recursive: true, force: true });
  });
  const add = (body: Uint8Array) => db.run('INSERT INTO ledger (body) VALUES (?)', body);
  return { db, path, add, count: () => Number(db.get('SELECT count(*) AS n FROM ledger')?.['n']) };
}

test('what many commit together is seen at once, and on disk when the promise resolves', async (context) => {
  const { db, add, count } = open(context);
  const written = Array.from({ length: 50 }, (_, at) => db.grouped(() => void add(Uint8Array.of(at))));
  assert.equal(count(), 50);
  await Promise.all(written);
});

test('a transaction that fails rejects alone, and writes nothing', async (context) => {
  const { db, add, count } = open(context);
  const fail = () =>
    db.grouped(() => {
      add(Uint8Array.of(1));
      throw new TypeError('no');
    });
  await assert.rejects(fail(), { code: 'server.store.failed' });
  assert.equal(count(), 0);
  const before = db.grouped(() => void add(Uint8Array.of(2)));
  const failed = fail();
  const after = db.grouped(() => void add(Uint8Array.of(3)));
  await assert.rejects(failed, { code: 'server.store.failed' });
  await Promise.all([before, after]);
  assert.equal(count(), 2);
});

test('nothing is promised once the database is closed', async (context) => {
  const { db, add, count } = open(context);
  const pending = db.grouped(() => void add(Uint8Array.of(1)));
  assert.equal(count(), 1, 'its write is under way');
  const late = db.grouped(() => void add(Uint8Array.of(2)));
  db.close();
  await pending;
  await assert.rejects(late, { code: 'server.store.failed' });
});

test('a long log is written into the database beside the event loop', async (context) => {
  const { db, path, add, count } = open(context);
  const body = new Uint8Array(100_000);
  // As many again as are due: the other thread may have to wait for a processor.
  for (let round = 0; statSync(path).size < 2_000_000; round++) {
    assert.ok(round < 1_500, 'the log was never written into the database');
    await db.grouped(() => void add(body));
    await delay(20);
  }
  assert.ok(count() > 40);
});
