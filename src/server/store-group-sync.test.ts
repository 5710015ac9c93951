import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { GroupSync } from './store-group-sync.ts';

function disk() {
  const writes: { readonly resolve: () => void; readonly reject: (error: Error) => void }[] = [];
  const sync = new GroupSync(() => new Promise<void>((resolve, reject) => writes.push({ resolve, reject })));
  return { writes, sync };
}

test('those who come during a write share the next, and none is served by a write that began before it asked', async () => {
  const { writes, sync } = disk();
  const done: string[] = [];
  const ask = (name: string) => sync.wait().then(() => done.push(name));
  ask('one');
  ask('two');
  ask('three');
  assert.equal(writes.length, 1);
  writes[0]?.resolve();
  await nextTurn();
  assert.deepEqual(done, ['one']);
  assert.equal(writes.length, 2);
  ask('four');
  writes[1]?.resolve();
  await nextTurn();
  assert.deepEqual(done, ['one', 'two', 'three']);
  assert.equal(writes.length, 3);
  writes[2]?.resolve();
  await nextTurn();
  assert.deepEqual(done, ['one', 'two', 'three', 'four']);
});

test('a write that fails fails those it was for, and no others', async () => {
  const { writes, sync } = disk();
  const one = sync.wait();
  const two = sync.wait();
  writes[0]?.reject(new Error('the disk is gone'));
  await assert.rejects(one, /gone/);
  await nextTurn();
  writes[1]?.resolve();
  await two;
});
