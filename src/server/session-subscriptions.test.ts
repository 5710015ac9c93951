import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BatchRequest } from './batch.ts';
import { type Subscription, Subscriptions } from './session-subscriptions.ts';

function subscription(id: bigint, containerId: string, confirmByNonce: number | undefined): Subscription {
  const leaf = new Uint8Array(32).fill(Number(id));
  return { request: { id, leaf } as BatchRequest, containerId, identities: [], confirmByNonce, released: false };
}

test('evidence that was on its way when a container lost its identity still fits its tree', () => {
  const subscriptions = new Subscriptions();
  subscriptions.keep(subscription(1n, 'a', 4));
  subscriptions.keep(subscription(2n, 'b', 4));
  subscriptions.forget('a');
  assert.equal(subscriptions.get(1n), undefined, 'nothing is served to it any more');
  assert.deepEqual(subscriptions.confirmable(1n), new Uint8Array(32).fill(1));
  assert.throws(() => subscriptions.admit(1n), { code: 'server.protocol' }, 'its id is not free again');
  subscriptions.confirm(1n);
  assert.equal(subscriptions.get(1n), undefined, 'a confirmation brings nothing back');
  assert.deepEqual(subscriptions.overdue(3).length, 0);
  assert.notEqual(subscriptions.confirmable(1n), undefined, 'the nonce that had to confirm it is still to come');
  assert.deepEqual(
    subscriptions.overdue(4).map(({ request }) => request.id),
    [2n],
  );
  assert.equal(subscriptions.confirmable(1n), undefined);
});

test('what a quote covers already cannot be confirmed again', () => {
  const subscriptions = new Subscriptions();
  subscriptions.keep(subscription(1n, 'a', undefined));
  subscriptions.forget('a');
  assert.equal(subscriptions.confirmable(1n), undefined);
});
