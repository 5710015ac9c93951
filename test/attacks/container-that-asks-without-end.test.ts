import assert from 'node:assert/strict';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { IssueBudget } from '../../src/server/issue-budget.ts';
import { containerOf, Fixture, requestOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// A sound container (A1) opens and closes the Workload API as fast as it can. Every SVID is a line of the ledger, which is
// kept for ever: the disk that it fills is the disk of all.

const skip = skipWithoutSoftwareTpm();
const SERIALS = 4096;

test('a container that has as many SVIDs as it may gets no more, and its neighbour does', { skip }, async () => {
  await using fixture = await Fixture.start();
  const { node, server } = fixture;
  const [greedy, modest] = [containerOf(1), containerOf(2)];
  const first = await fixture.session(greedy, modest);
  assert.equal((await first.ask(requestOf(greedy))).case, 'identities');
  first.close();
  using database = new DatabaseSync(join(server.directory, 'data', 'lacre.db'));
  const insert = database.prepare("INSERT INTO serials VALUES (?, ?, ?, 'spiffe://lacre.test/orders', ?, ?, NULL)");
  database.exec('BEGIN');
  for (let i = 0; i < SERIALS; i++) {
    insert.run(`aa${i.toString(16)}`, node.ekSha256Hex, greedy.id, Date.now(), Date.now() + 300_000);
  }
  database.exec('COMMIT');
  const session = await fixture.session(greedy, modest);
  const outcome = await session.ask(requestOf(greedy));
  assert.ok(outcome.case === 'refusal');
  assert.equal(outcome.value.code, 'server.limit');
  assert.match(outcome.value.sentence, /SVIDs that have not ended/);
  assert.equal((await session.ask(requestOf(modest))).case, 'identities');
  session.close();
});

test('what has ended makes room, for the container and for its node', () => {
  const budget = new IssueBudget(3, 5);
  const at = (ms: number) => new Date(ms);
  const issue = (container: string, now: number) => {
    budget.requireRoom(container, at(now));
    budget.add(container, at(now + 1000), at(now));
  };
  for (const now of [0, 100, 200]) issue('a', now);
  assert.throws(() => issue('a', 300), { code: 'server.limit' });
  for (const now of [300, 400]) issue('b', now);
  assert.throws(() => issue('c', 500), { code: 'server.limit' }, 'the node has five');
  issue('c', 1000);
  issue('a', 1150);
  assert.throws(() => issue('b', 1160), { code: 'server.limit' });
});
