import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { concat, evmSigFields, legacyEntry, listEntry, templateData } from '../../test/simulator/hostile-entry.ts';
import { softQuote } from '../../test/simulator/soft-quote.ts';
import type { BootEvent } from '../boot/event-log.ts';
import { replayEventLog } from '../boot/replayed-boot.ts';
import { checkBootAggregate } from './boot-aggregate.ts';
import { ListReplay } from './list-replay.ts';
import { PendingPrefixes } from './pending-prefixes.ts';

const ZERO = new Uint8Array(48);
const START = { pcr10: ZERO, pcr13: ZERO, pcr14: ZERO };
const FIXED = new Map([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12].map((pcr) => [pcr, new Uint8Array(48).fill(pcr)]));

const hashed = (...parts: Uint8Array[]) =>
  new Uint8Array(
    createHash('sha384')
      .update(concat(...parts))
      .digest(),
  );
const entry = { template: 'evm-sig', rest: evmSigFields(200_000), path: '/bin/app' };
const read = { ...entry, pcr: 13, path: '/app/main.py' };
const legacyDigest = new Uint8Array(20).fill(3);
const legacyData = concat(legacyDigest, Buffer.from('/old'), new Uint8Array(256 - 4));
const LIST = concat(
  listEntry(entry),
  listEntry(read),
  listEntry({ violation: true }),
  legacyEntry('/old', legacyDigest),
);

/** Folded apart from the product's code: SHA-384 of template data, ones for a violation. */
function expected(): Map<number, Uint8Array> {
  const violated = hashed(hashed(ZERO, hashed(templateData(entry))), new Uint8Array(48).fill(0xff));
  const pcr10 = hashed(violated, hashed(legacyData));
  return new Map([...FIXED, [10, pcr10], [13, hashed(ZERO, hashed(templateData(read)))], [14, ZERO]]);
}

test('a list of a SHA-384 bank is folded with SHA-384 of its template data, and proven by a quote of that bank', () => {
  const replay = new ListReplay(START);
  replay.append(LIST);
  replay.append(listEntry({ path: '/later' }));
  assert.deepEqual(replay.verify(softQuote(expected(), undefined, 'sha384'), FIXED), { from: 0, to: 4 });
  assert.deepEqual(replay.snapshot().pcrs.pcr10, expected().get(10));
  const resumed = ListReplay.resume(replay.snapshot());
  resumed.append(listEntry({ path: '/later' }));
  assert.equal(resumed.length, 5);
});

test('a quote of the other bank, or fixed PCRs of it, explain nothing', () => {
  const replay = new ListReplay(START);
  replay.append(LIST);
  const narrow = new Map([...expected()].map(([pcr, value]) => [pcr, value.subarray(0, 32)]));
  assert.throws(() => replay.verify(softQuote(narrow), FIXED), { code: 'ima.prefix.unexplained' });
  const fixed = new Map([...FIXED].map(([pcr, value]) => [pcr, value.subarray(0, 32)]));
  const quote = softQuote(expected(), undefined, 'sha384');
  assert.throws(() => replay.verify(quote, fixed), { code: 'ima.prefix.unexplained' });
  assert.deepEqual(replay.verify(quote, FIXED), { from: 0, to: 4 });
});

test('start values that are of no bank, or of two, are refused', () => {
  for (const start of [
    { pcr10: new Uint8Array(20), pcr13: new Uint8Array(20), pcr14: new Uint8Array(20) },
    { ...START, pcr13: new Uint8Array(32) },
    { ...START, pcr14: new Uint8Array(32) },
  ]) {
    assert.throws(() => new ListReplay(start), TypeError);
    assert.throws(() => new PendingPrefixes(start), TypeError);
  }
});

test('boot_aggregate is of the bank of the boot', () => {
  const digests = { sha256: new Uint8Array(32).fill(1), sha384: new Uint8Array(48).fill(1) };
  const event: BootEvent = { index: 0, pcr: 0, type: 8, typeName: '', digests, data: new Uint8Array() };
  for (const bank of ['sha256', 'sha384'] as const) {
    const boot = replayEventLog([event], bank);
    const [first] = new ListReplay(START).append(
      listEntry({ path: 'boot_aggregate', algorithm: bank, digest: boot.bootAggregate() }),
    );
    assert.ok(first);
    checkBootAggregate(first, boot);
    const other = replayEventLog([event], bank === 'sha256' ? 'sha384' : 'sha256');
    assert.throws(() => checkBootAggregate(first, other), { code: 'ima.boot-aggregate' });
  }
});
