import assert from 'node:assert/strict';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { codeOf, containerOf, digestOf, Fixture, requestOf, uidOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// The server dies, or its disk fails, at the worst moment: the proven part of the list has been moved on past the bad entry, and what
// the entry was found to be has not been written down.

const skip = skipWithoutSoftwareTpm();

test('index and findings are written together, or neither is', { skip }, async () => {
  await using fixture = await Fixture.start();
  const [container, neighbour] = [containerOf(1), containerOf(2)];
  const session = await fixture.session(container, neighbour);
  assert.equal((await session.ask(requestOf(container))).case, 'identities');
  using database = new DatabaseSync(join(fixture.server.directory, 'data', 'lacre.db'));
  const index = () => database.prepare('SELECT verified_index AS at FROM epochs').get()?.['at'];
  const before = index();
  database.exec("CREATE TRIGGER crash BEFORE INSERT ON taints BEGIN SELECT RAISE(FAIL, 'crash'); END");
  await fixture.node.kernel.measureContainer({ path: '/tmp/miner', sha256: digestOf('miner') }, { uid: uidOf(1) });
  await session.evidence([requestOf(container)]);
  assert.match(codeOf(await session.end()), /^server\.(session|store)\.failed$/);
  assert.equal(index(), before, 'the list is proven no further than what was judged');
  database.exec('DROP TRIGGER crash');
  session.close();
  await fixture.server.restart();

  const again = await fixture.session(container, neighbour);
  const outcome = await again.ask(requestOf(container));
  assert.ok(outcome.case === 'refusal');
  assert.equal(outcome.value.code, 'appraisal.file.unknown');
  assert.equal((await again.ask(requestOf(neighbour))).case, 'identities');
  assert.ok(Number(index()) > Number(before));
  again.close();
});
