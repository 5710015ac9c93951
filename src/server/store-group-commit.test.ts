import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { GroupCommit } from './store-group-commit.ts';

/** A database that counts transactions, and a disk whose writes end when the test says so. */
function bed() {
  const transactions: string[][] = [];
  const writes: { readonly resolve: () => void; readonly reject: (error: Error) => void }[] = [];
  let open: string[] | undefined;
  const group = new GroupCommit(
    (work) => {
      open = [];
      work();
      transactions.push(open);
    },
    () => new Promise<void>((resolve, reject) => writes.push({ resolve, reject })),
  );
  const add = (name: string) => group.add(() => void open?.push(name));
  const fail = () =>
    group.add(() => {
      throw new TypeError('no');
    });
  return { transactions, writes, group, add, fail };
}

test('works of one turn are one transaction and one write', async () => {
  const { transactions, writes, add } = bed();
  const done = Promise.all([add('a'), add('b'), add('c')]);
  assert.deepEqual(transactions, []);
  await nextTurn();
  assert.deepEqual([transactions, writes.length], [[['a', 'b', 'c']], 1]);
  writes[0]?.resolve();
  await done;
});

test('works that come while the disk is written wait for its end, unless somebody reads', async () => {
  const { transactions, writes, group, add } = bed();
  const first = add('a');
  await nextTurn();
  const later = add('b');
  await nextTurn();
  assert.deepEqual(transactions, [['a']]);
  writes[0]?.resolve();
  await first;
  await nextTurn();
  assert.deepEqual(transactions, [['a'], ['b']]);
  const read = add('c');
  group.flush();
  assert.deepEqual(transactions, [['a'], ['b'], ['c']]);
  for (const { resolve } of writes) resolve();
  await Promise.all([later, read]);
});

test('one that fails fails alone, and a disk that fails fails all', async () => {
  const { transactions, writes, add, fail } = bed();
  const [before, failed, after] = [add('a'), fail(), add('b')];
  await assert.rejects(failed, TypeError);
  assert.deepEqual(transactions, [['a'], ['b']]);
  writes[0]?.reject(new Error('full'));
  await assert.rejects(before, /full/);
  await assert.rejects(after, /full/);
  const next = add('c');
  await nextTurn();
  writes[1]?.resolve();
  await next;
});

test('a single one that fails leaves nothing to write', async () => {
  const { writes, fail } = bed();
  await assert.rejects(fail(), TypeError);
  assert.equal(writes.length, 0);
});

test('very many are cut into transactions of some milliseconds', async () => {
  const { transactions, writes, add } = bed();
  const done = Promise.all(Array.from({ length: 150 }, (_, at) => add(String(at))));
  for (let at = 0; at < 3; at++) {
    await nextTurn();
    writes[at]?.resolve();
  }
  await done;
  assert.deepEqual(
    transactions.map(({ length }) => length),
    [64, 64, 22],
  );
});
