import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isLacreError } from '../lacre-error.ts';
import { Outbox } from './session-outbox.ts';

test('messages come in order, then the end', async () => {
  const outbox = new Outbox<number>(10);
  outbox.push(1);
  outbox.push(2);
  setImmediate(() => {
    outbox.push(3);
    outbox.finish();
    outbox.push(4);
  });
  const seen: number[] = [];
  await outbox.drainTo((message) => void seen.push(message));
  assert.deepEqual(seen, [1, 2, 3]);
});

test('an error ends the stream after what was queued, and the first end counts', async () => {
  const outbox = new Outbox<number>(10);
  outbox.push(1);
  outbox.fail(new Error('first'));
  outbox.fail(new Error('second'));
  const seen: number[] = [];
  await assert.rejects(async () => {
    await outbox.drainTo((message) => void seen.push(message));
  }, /first/);
  assert.deepEqual(seen, [1]);
});

test('a peer that does not read ends the stream', async () => {
  const outbox = new Outbox<number>(3);
  for (let number = 0; number < 5; number++) outbox.push(number);
  const seen: number[] = [];
  await assert.rejects(
    async () => {
      await outbox.drainTo((message) => void seen.push(message));
    },
    (error) => isLacreError(error, 'server.limit'),
  );
  assert.deepEqual(seen, [0, 1, 2]);
});

test('a long stream keeps its order', async () => {
  const outbox = new Outbox<number>(100_000);
  for (let number = 0; number < 5000; number++) outbox.push(number);
  outbox.finish();
  let next = 0;
  await outbox.drainTo((message) => void assert.equal(message, next++));
  assert.equal(next, 5000);
});
