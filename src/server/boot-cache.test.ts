import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { sha256Hex } from '../bytes/sha256.ts';
import { BootCache } from './boot-cache.ts';

const log = (name: string) => new Uint8Array(readFileSync(new URL(`../../vectors/boot/${name}.log`, import.meta.url)));
const sealed = log('ovmf-sealed');
/** Another log: one byte of the last event's data, which no digest here covers, is another. */
const other = sealed.map((byte, at) => (at === sealed.length - 1 ? byte ^ 1 : byte));

test('the same log is the same boot; another log is another, with values of its own', () => {
  const cache = new BootCache();
  const first = cache.replay(sealed);
  assert.equal(first.sha256Hex, sha256Hex(sealed));
  assert.equal(cache.replay(sealed.slice()).boot, first.boot);
  assert.notEqual(cache.replay(other).boot, first.boot);
  assert.equal(cache.replay(other).sha256Hex, sha256Hex(other));
  assert.equal(cache.size, 2);
});

test('what was handed in may change afterwards', () => {
  const cache = new BootCache();
  const mine = sealed.slice();
  const { boot } = cache.replay(mine);
  const before = boot.eventDigests(4).map((digest) => Buffer.from(digest).toString('hex'));
  mine.fill(0);
  assert.deepEqual(
    cache
      .replay(sealed)
      .boot.eventDigests(4)
      .map((digest) => Buffer.from(digest).toString('hex')),
    before,
  );
});

test('it keeps no more than its bounds, the newest first', () => {
  const few = new BootCache({ logs: 1, bytes: 2 ** 20 });
  const { boot } = few.replay(sealed);
  few.replay(other);
  assert.equal(few.size, 1);
  assert.notEqual(few.replay(sealed).boot, boot);
  const small = new BootCache({ logs: 8, bytes: sealed.length });
  small.replay(sealed);
  small.replay(other);
  assert.equal(small.size, 1);
  assert.equal(new BootCache({ logs: 8, bytes: 0 }).replay(sealed).sha256Hex, sha256Hex(sealed));
});

test('a log that is none is refused each time, and not kept', () => {
  const cache = new BootCache();
  for (let time = 0; time < 2; time++) assert.throws(() => cache.replay(new Uint8Array(10)), { name: 'LacreError' });
  assert.equal(cache.size, 0);
});
