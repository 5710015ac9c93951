import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { test } from 'node:test';
import { TrustDomain } from '../identity/trust-domain.ts';
import { AnswerEntries } from './answer-entries.ts';
import type { ServerDeps, ServerEvents } from './server-deps.ts';
import { Store } from './store.ts';
import { addTestNode, TEST_EK } from './store-fixture.ts';

/** Entries of one node, and what makes a new one as the admin API does. */
function shelf() {
  const store = Store.openInMemory();
  addTestNode(store.nodes);
  const node = store.nodes.get(TEST_EK);
  if (node === undefined) throw new Error('there is no node');
  const events: ServerEvents = new EventEmitter();
  const config = { trustDomain: TrustDomain.parse('lab.example') };
  const entries = new AnswerEntries({ store, events, config } as unknown as ServerDeps, node);
  const put = (id: string, expiresAt: number) => {
    store.entries.put({
      id,
      spiffeId: `spiffe://lab.example/${id}`,
      parentId: node.spiffeId,
      selectors: [{ type: 'lacre', value: 'image:proven' }],
      x509SvidTtl: 0,
      jwtSvidTtl: 0,
      federatesWith: [],
      admin: false,
      downstream: false,
      expiresAt,
      dnsNames: [],
      storeSvid: false,
      hint: '',
      additionalAttributes: undefined,
      revision: 0,
      createdAt: 0,
    });
    events.emit('entriesChanged');
  };
  return { put, hasExpired: (from: number, to: number) => entries.hasExpired(new Date(from), new Date(to)) };
}

test('an entry has expired between two times after the first, and at the second', () => {
  const { put, hasExpired } = shelf();
  put('never', 0);
  assert.equal(hasExpired(-1000, 2000_000), false);
  put('a', 100);
  assert.deepEqual(
    [
      [98_000, 99_999],
      [99_000, 100_000],
      [100_000, 101_000],
    ].map(([from = 0, to = 0]) => hasExpired(from, to)),
    [false, true, false],
  );
});

test('entries that come later count too', () => {
  const { put, hasExpired } = shelf();
  put('a', 100);
  assert.equal(hasExpired(199_000, 200_000), false);
  put('b', 200);
  assert.equal(hasExpired(199_000, 200_000), true);
});
