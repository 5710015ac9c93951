import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isLacreError } from '../lacre-error.ts';
import { Store } from './store.ts';
import { TEST_TIME } from './store-fixture.ts';

const ek = (digit: string): string => digit.repeat(64);
const id = (digit: string): string => `spiffe://lab.example/spire/agent/lacre_tpm/${digit}`;
const exists = (error: unknown) => isLacreError(error, 'server.node.exists');

function filled(): Store {
  const store = Store.openInMemory();
  store.nodes.add({ ekSha256Hex: ek('a'), spiffeId: id('a'), name: 'one', hostReference: 'debian' }, TEST_TIME);
  store.nodes.add({ ekSha256Hex: ek('b'), spiffeId: id('b') }, TEST_TIME);
  return store;
}

test('a node is found by name, SPIFFE ID, EK and a beginning of it', () => {
  const { nodes } = filled();
  const found = (subject: string) => nodes.find(subject).map(({ ekSha256Hex }) => ekSha256Hex[0]);
  assert.deepEqual(found('one'), ['a']);
  assert.deepEqual(found(id('b')), ['b']);
  assert.deepEqual(found(ek('a')), ['a']);
  assert.deepEqual(found('aaaa'), ['a']);
  for (const nothing of ['', 'aaa', '*', 'aaaa*', 'two', "' OR 1=1 --"]) assert.deepEqual(found(nothing), [], nothing);
});

test('an EK and a name stand in the inventory once', () => {
  const { nodes } = filled();
  assert.throws(() => nodes.add({ ekSha256Hex: ek('a'), spiffeId: id('a') }, TEST_TIME), exists);
  assert.throws(() => nodes.add({ ekSha256Hex: ek('c'), spiffeId: id('c'), name: 'one' }, TEST_TIME), exists);
  assert.equal(nodes.list().length, 2);
});

test('an unknown EK is parked, changes no known node, and becomes expected when it is added', () => {
  const { nodes } = filled();
  nodes.park({ ekSha256Hex: ek('a'), spiffeId: id('a') }, TEST_TIME);
  assert.equal(nodes.get(ek('a'))?.state, 'expected');
  nodes.park({ ekSha256Hex: ek('c'), spiffeId: id('c') }, TEST_TIME);
  assert.equal(nodes.get(ek('c'))?.state, 'parked');
  nodes.add({ ekSha256Hex: ek('c'), spiffeId: id('c'), name: 'three' }, TEST_TIME);
  assert.equal(nodes.get(ek('c'))?.state, 'expected');
  assert.equal(nodes.get(ek('c'))?.name, 'three');
});

test('only so many unknown EKs are remembered: the oldest go, known nodes stay', () => {
  const { nodes } = filled();
  for (let index = 0; index < 20; index++) {
    const hex = index.toString(16).padStart(64, '0');
    nodes.park({ ekSha256Hex: hex, spiffeId: id(hex) }, new Date(TEST_TIME.getTime() + index), 5);
  }
  const parked = nodes.list().filter(({ state }) => state === 'parked');
  assert.equal(parked.length, 5);
  assert.ok(parked.every(({ ekSha256Hex }) => Number.parseInt(ekSha256Hex, 16) >= 15));
  assert.equal(nodes.list().length, 7);
});

test('fields are changed one by one; undefined clears', () => {
  const { nodes } = filled();
  const expires = new Date(TEST_TIME.getTime() + 1000);
  nodes.update(ek('a'), {
    state: 'enrolled',
    akPublic: new Uint8Array([1, 2]),
    akNameHex: '000b',
    certificateExpiresAt: expires,
    banned: true,
  });
  const changed = nodes.update(ek('a'), { kernel: '6.12', banned: false });
  assert.equal(changed.state, 'enrolled');
  assert.deepEqual(changed.akPublic, new Uint8Array([1, 2]));
  assert.deepEqual(changed.certificateExpiresAt, expires);
  assert.equal(changed.kernel, '6.12');
  assert.equal(changed.banned, false);
  const cleared = nodes.update(ek('a'), { akPublic: undefined, certificateExpiresAt: undefined });
  assert.equal(cleared.akPublic, undefined);
  assert.equal(cleared.certificateExpiresAt, undefined);
  assert.equal(cleared.name, 'one');
});

test('the newest session alone changes what is said of the host', () => {
  const { nodes } = filled();
  const [before, after] = [Uint8Array.of(1), Uint8Array.of(2)];
  const older = nodes.nextFence(ek('a'));
  nodes.judged(ek('a'), older, before);
  const newer = nodes.nextFence(ek('a'));
  nodes.judged(ek('a'), older, after);
  assert.deepEqual(nodes.get(ek('a'))?.hostVerdict, before);
  nodes.judged(ek('a'), newer, after);
  assert.deepEqual(nodes.get(ek('a'))?.hostVerdict, after);
});

test('what is not there is told', () => {
  const { nodes } = filled();
  const missing = (error: unknown) => isLacreError(error, 'server.node.missing');
  assert.throws(() => nodes.update(ek('f'), { kernel: 'x' }), missing);
  assert.throws(() => nodes.nextFence(ek('f')), missing);
  assert.equal(nodes.remove(ek('f')), false);
  assert.equal(nodes.remove(ek('a')), true);
  assert.equal(nodes.get(ek('a')), undefined);
});
