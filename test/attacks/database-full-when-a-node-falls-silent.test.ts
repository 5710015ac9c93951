import assert from 'node:assert/strict';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { codeOf, containerOf, Fixture, requestOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// Somebody fills the server's disk, then a node falls silent. That the server cannot write this down must neither keep the
// session going nor end the server.

const skip = skipWithoutSoftwareTpm();

test('a silent node loses its session, also where the database cannot say so', { skip }, async () => {
  let aheadMs = 0;
  await using fixture = await Fixture.start('', { now: () => new Date(Date.now() + aheadMs) });
  const container = containerOf(1);
  const session = await fixture.session(container);
  assert.equal((await session.ask(requestOf(container))).case, 'identities');
  using database = new DatabaseSync(join(fixture.server.directory, 'data', 'lacre.db'));
  database.exec("CREATE TRIGGER full BEFORE UPDATE ON nodes BEGIN SELECT RAISE(FAIL, 'full'); END");
  aheadMs = 60_000;
  const error = await session.end();
  assert.equal(codeOf(error), 'server.node.silent', String(error));
  session.close();
  database.exec('DROP TRIGGER full');
  const later = await fixture.session(container);
  assert.equal((await later.ask(requestOf(container))).case, 'identities');
  later.close();
});
