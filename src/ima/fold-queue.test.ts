import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sha256, ZERO_SHA256 } from '../bytes/sha256.ts';
import { Sha256Lanes } from '../bytes/sha256-lanes.ts';
import { FoldQueue } from './fold-queue.ts';

const BUFFER = Uint8Array.from({ length: 3000 }, (_, at) => at);
const pcrsOf = (): Uint8Array[] => [1, 2, 3].map((slot) => new Uint8Array(32).fill(slot));

test('a queue that holds nothing folds nothing, made ready or not, whatever it held before', () => {
  const queue = new FoldQueue();
  const [pcrs, values] = [new Uint8Array(96).fill(1), new Uint8Array(32).fill(2)];
  queue.run(pcrs, values);
  assert.ok(queue.prepare() instanceof Sha256Lanes);
  assert.equal(queue.prepare(), queue.prepare());
  queue.run(pcrs, values);
  assert.deepEqual([pcrs, values], [new Uint8Array(96).fill(1), new Uint8Array(32).fill(2)]);
  queue.add(0, new Uint8Array(2 * Sha256Lanes.CAPACITY), 0, 10);
  queue.run(pcrs, values);
  const [after, value] = [pcrs.slice(), values.slice()];
  queue.run(pcrs, values);
  assert.deepEqual([pcrs, values, queue.length], [after, value, 0]);
});

test('entries are folded in their order, each into its PCR, however many wait', () => {
  const queue = new FoldQueue();
  for (let count = 1; count <= FoldQueue.ENTRIES; count++) {
    const expected = pcrsOf();
    const steps = Array.from({ length: count }, (_, at) => {
      const [slot, start, end] = [(at * at) % 3, 7 + 30 * at, 7 + 30 * at + ((at * 11) % 130)];
      assert.ok(queue.fits(BUFFER, start, end));
      queue.add(slot, BUFFER, start, end);
      const value = sha256(expected[slot] ?? ZERO_SHA256, sha256(BUFFER.subarray(start, end)));
      expected[slot] = value;
      return value;
    });
    const [pcrs, values] = [new Uint8Array(Buffer.concat(pcrsOf())), new Uint8Array(32 * count)];
    assert.equal(queue.length, count);
    queue.run(pcrs, values);
    assert.deepEqual(values, new Uint8Array(Buffer.concat(steps)), `${count} entries`);
    assert.deepEqual(pcrs, new Uint8Array(Buffer.concat(expected)), `${count} entries`);
  }
});

test('entries wait together that lie one behind the other in one buffer, within what is loaded at once', () => {
  const large = new Uint8Array(2 * Sha256Lanes.CAPACITY);
  const queue = new FoldQueue();
  assert.ok(queue.fits(large, 0, 2 * Sha256Lanes.CAPACITY), 'the first one always');
  queue.add(0, large, 100, 200);
  assert.ok(queue.fits(large, 200, 300));
  assert.ok(queue.fits(large, 100, 100 + Sha256Lanes.CAPACITY));
  assert.ok(!queue.fits(large, 100, 101 + Sha256Lanes.CAPACITY));
  assert.ok(!queue.fits(large, 99, 300));
  assert.ok(!queue.fits(new Uint8Array(large.length), 200, 300));
  for (let count = 1; count < 64; count++) {
    assert.ok(queue.fits(large, 200, 300), `${count} wait`);
    queue.add(0, large, 200, 300);
  }
  assert.ok(!queue.fits(large, 200, 300), '64 wait');
});

test('what another owner left is dropped, what the same one left is kept', () => {
  const queue = new FoldQueue();
  const [one, other] = [{}, {}];
  queue.take(one);
  queue.add(0, BUFFER, 0, 10);
  queue.take(one);
  assert.equal(queue.length, 1);
  queue.take(other);
  assert.equal(queue.length, 0);
});
