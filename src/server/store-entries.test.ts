import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Store } from './store.ts';
import type { EntryFilter, EntryRow, SetMatch } from './store-entries.ts';

function entry(id: string, selectors: string[], change: Partial<EntryRow> = {}): EntryRow {
  return {
    id,
    spiffeId: `spiffe://lab.example/${id}`,
    parentId: 'spiffe://lab.example/node',
    selectors: selectors.map((value) => ({ type: 't', value })),
    x509SvidTtl: 60,
    jwtSvidTtl: 0,
    federatesWith: [],
    admin: false,
    downstream: false,
    expiresAt: 0,
    dnsNames: [],
    storeSvid: false,
    hint: '',
    additionalAttributes: undefined,
    revision: 0,
    createdAt: 1_777_000_000,
    ...change,
  };
}

function filled(): Store {
  const store = Store.openInMemory();
  store.entries.put(entry('a', ['1']));
  store.entries.put(entry('b', ['1', '2'], { federatesWith: ['x.example'], hint: 'h' }));
  store.entries.put(entry('c', ['3'], { federatesWith: ['x.example', 'y.example'], downstream: true }));
  store.entries.put(entry('d', ['1', '2', '3'], { parentId: 'spiffe://lab.example/other' }));
  return store;
}

test('an entry is read back as it was put, with its sets sorted', () => {
  const store = Store.openInMemory();
  const full = entry('full', ['b', 'a'], {
    dnsNames: ['z.example', 'a.example'],
    federatesWith: ['y.example', 'x.example'],
    additionalAttributes: { disableX509SvidPrefetch: true, jwtSvidIncludeJti: false },
    expiresAt: 1_800_000_000,
    admin: true,
  });
  store.entries.put(full);
  const expected = {
    ...full,
    selectors: [
      { type: 't', value: 'a' },
      { type: 't', value: 'b' },
    ],
    federatesWith: ['x.example', 'y.example'],
  };
  assert.deepEqual(store.entries.get('full'), expected);
  assert.equal(store.entries.get('none'), undefined);
});

test('selectors and trust domains match in the four ways of SPIRE', () => {
  const store = filled();
  const ids = (filter: EntryFilter) => store.entries.list(filter).map(({ id }) => id);
  const by = (match: SetMatch, ...values: string[]): EntryFilter => ({
    selectors: { values: values.map((value) => ({ type: 't', value })), match },
  });
  assert.deepEqual(ids(by('exact', '1', '2')), ['b']);
  assert.deepEqual(ids(by('subset', '1', '2')), ['a', 'b']);
  assert.deepEqual(ids(by('superset', '1', '2')), ['b', 'd']);
  assert.deepEqual(ids(by('any', '2', '3')), ['b', 'c', 'd']);
  assert.deepEqual(ids(by('any', '4')), []);
  const federated = (match: SetMatch, ...values: string[]): EntryFilter => ({ federatesWith: { values, match } });
  assert.deepEqual(ids(federated('exact', 'x.example')), ['b']);
  assert.deepEqual(ids(federated('superset', 'x.example')), ['b', 'c']);
  assert.deepEqual(ids(federated('subset', 'x.example')), ['b'], 'an entry that federates with nobody is no match');
  assert.equal(store.entries.count(by('any', '2', '3')), 3);
});

test('filters join', () => {
  const store = filled();
  const ids = (filter: EntryFilter) => store.entries.list(filter).map(({ id }) => id);
  assert.deepEqual(ids({ parentId: 'spiffe://lab.example/other' }), ['d']);
  assert.deepEqual(ids({ spiffeId: 'spiffe://lab.example/a' }), ['a']);
  assert.deepEqual(ids({ hint: 'h', downstream: false }), ['b']);
  assert.deepEqual(ids({ downstream: true }), ['c']);
  assert.deepEqual(ids({ hint: 'h', downstream: true }), []);
});

test('pages hold every entry once, in order, also while entries are deleted', () => {
  const store = filled();
  const first = store.entries.page({}, 2, '');
  assert.deepEqual(
    first.entries.map(({ id }) => id),
    ['a', 'b'],
  );
  store.entries.remove('b');
  const second = store.entries.page({}, 2, first.nextToken);
  assert.deepEqual(
    second.entries.map(({ id }) => id),
    ['c', 'd'],
  );
  assert.equal(second.nextToken, '');
});

test('a similar entry is one with the same IDs and the same selectors', () => {
  const store = filled();
  assert.equal(store.entries.similar(entry('b', ['2', '1']))?.id, 'b');
  assert.equal(store.entries.similar(entry('b', ['2'])), undefined);
  assert.equal(store.entries.similar(entry('a', ['1'], { parentId: 'spiffe://lab.example/x' })), undefined);
});

test('writing anew replaces the sets and keeps number and creation', () => {
  const store = filled();
  store.entries.put(entry('a', ['9'], { revision: 1, createdAt: 5 }));
  const [first] = store.entries.list();
  assert.equal(first?.id, 'a');
  assert.deepEqual(first?.selectors, [{ type: 't', value: '9' }]);
  assert.equal(first?.createdAt, 1_777_000_000);
  assert.ok(store.entries.remove('a'));
  assert.ok(!store.entries.remove('a'));
});
