import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FoldQueue } from './fold-queue.ts';
import { prepareFolds } from './pending-prefixes.ts';

test('a queue that holds nothing folds nothing, made ready or not', () => {
  prepareFolds();
  const queue = new FoldQueue();
  const [pcrs, values] = [new Uint8Array(96).fill(1), new Uint8Array(32).fill(2)];
  queue.run(pcrs, values);
  assert.equal(queue.prepare(), queue.prepare());
  queue.run(pcrs, values);
  assert.deepEqual([pcrs, values], [new Uint8Array(96).fill(1), new Uint8Array(32).fill(2)]);
});
