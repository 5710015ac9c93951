import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { isLacreError } from '../lacre-error.ts';
import { NonceBook, nonceLifetimeMs } from './nonce.ts';

const START = new Date('2026-11-23T12:00:00Z');
const after = (ms: number) => new Date(START.getTime() + ms);
const book = () => new NonceBook((length) => new Uint8Array(randomBytes(length)));
const unknown = (error: unknown) => isLacreError(error, 'server.nonce.unknown');

test('a nonce is taken once', () => {
  const nonces = book();
  const [nonce] = nonces.refill(START, 30_000);
  assert.ok(nonce);
  assert.equal(nonce.value.length, 32);
  assert.equal(nonces.take(nonce.value, after(10)).madeAt, START);
  assert.throws(() => nonces.take(nonce.value, after(20)), unknown);
});

test('a nonce of another session, or of another length, is unknown', () => {
  const [foreign] = book().refill(START, 30_000);
  assert.ok(foreign);
  assert.throws(() => book().take(foreign.value, START), unknown);
  const nonces = book();
  const [own] = nonces.refill(START, 30_000);
  assert.ok(own);
  assert.throws(() => nonces.take(own.value.subarray(0, 31), START), unknown);
  assert.throws(() => nonces.take(new Uint8Array([...own.value, 0]), START), unknown);
});

test('a nonce lives five seconds at most, and a quarter of the smallest evidence age', () => {
  assert.equal(nonceLifetimeMs(30_000), 5_000);
  assert.equal(nonceLifetimeMs(8_000), 2_000);
  assert.equal(nonceLifetimeMs(1), 1_000);
  const nonces = book();
  const [nonce] = nonces.refill(START, 8_000);
  assert.ok(nonce);
  assert.throws(() => nonces.take(nonce.value, after(2_001)), unknown);
  const [second] = nonces.refill(after(3_000), 8_000);
  assert.ok(second);
  assert.throws(() => nonces.take(second.value, after(2_999)), unknown, 'a clock that went back');
});

test('two are outstanding at most, and a used one makes room', () => {
  const nonces = book();
  const first = nonces.refill(START, 30_000);
  assert.equal(first.length, 2);
  assert.equal(nonces.refill(after(1), 30_000).length, 0);
  assert.ok(first[0]);
  nonces.take(first[0].value, after(2));
  assert.equal(nonces.refill(after(3), 30_000).length, 1);
  assert.deepEqual(
    first.map((nonce) => nonce.number),
    [0, 1],
  );
  assert.equal(nonces.next, 3);
});

test('who asks gets nonces in place of those that are half spent, and two at most', () => {
  const nonces = book();
  const first = nonces.renew(START, 30_000);
  assert.equal(first.length, 2);
  assert.deepEqual(nonces.renew(after(2_000), 30_000), [], 'they are young');
  const [old] = first;
  assert.ok(old);
  assert.equal(nonces.renew(after(2_500), 30_000).length, 2);
  assert.throws(() => nonces.take(old.value, after(2_500)), unknown, 'two at a time are all there are');
});

test('setting the clock back makes no nonce live longer', () => {
  let steadyMs = 1000;
  const nonces = new NonceBook(
    (length) => new Uint8Array(randomBytes(length)),
    () => steadyMs,
  );
  const [first, second] = nonces.refill(START, 30_000);
  assert.ok(first && second);
  steadyMs += 4_999;
  assert.equal(nonces.take(first.value, after(1)).madeAtSteadyMs, 1000);
  steadyMs += 2;
  assert.throws(() => nonces.take(second.value, after(1)), unknown);
});
