import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { sha256, ZERO_SHA256 } from '../bytes/sha256.ts';
import { LIST_PCRS, type ListPcr, type ListPcrs, PendingPrefixes } from './pending-prefixes.ts';

const ZERO: ListPcrs = { pcr10: ZERO_SHA256, pcr13: ZERO_SHA256, pcr14: ZERO_SHA256 };
const digestOf = (seed: number): Uint8Array => sha256(Uint8Array.of(seed & 0xff, seed >> 8));
const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

/** The slow way: the values after each entry, all kept. */
function valuesAfter(pcrs: readonly ListPcr[]): ListPcrs[] {
  const all = [ZERO];
  for (const [index, pcr] of pcrs.entries()) {
    const last = all.at(-1) ?? ZERO;
    const name = `pcr${pcr}` as const;
    all.push({ ...last, [name]: sha256(last[name], digestOf(index)) });
  }
  return all;
}

const pcrsOf = fc.array(fc.constantFrom(...LIST_PCRS), { maxLength: 700 });

test('values at any point are those that were there, before and after entries were dropped', () => {
  fc.assert(
    fc.property(pcrsOf, fc.array(fc.nat(700), { maxLength: 4 }), (pcrs, drops) => {
      const expected = valuesAfter(pcrs);
      const pending = new PendingPrefixes(ZERO);
      let dropped = 0;
      let added = 0;
      for (const [index, drop] of [...drops, 0].entries()) {
        const until = index === drops.length ? pcrs.length : Math.min(pcrs.length, added + drop);
        for (; added < until; added++) pending.extend(pcrs[added] ?? 10, latin1(digestOf(added)));
        const count = drop % (pending.length + 1);
        pending.drop(count);
        dropped += count;
        assert.deepEqual(pending.at(0), expected[dropped]);
        assert.deepEqual(pending.at(pending.length), expected[added]);
        assert.deepEqual(pending.at(pending.length >> 1), expected[dropped + (pending.length >> 1)]);
      }
    }),
    { numRuns: 60 },
  );
});

test('more entries than may wait are refused, and room that a proof makes can be used again', () => {
  const pending = new PendingPrefixes(ZERO, 3);
  for (let i = 0; i < 3; i++) pending.extend(10, latin1(digestOf(i)));
  assert.throws(() => pending.extend(13, latin1(digestOf(3))), { code: 'ima.list.oversized', details: { bound: 3 } });
  pending.drop(1);
  pending.extend(13, latin1(digestOf(3)));
  assert.throws(() => pending.extend(10, latin1(digestOf(4))), { code: 'ima.list.oversized' });
});

test('what is put off is as what is folded at once, and what a list that ended in a fault has put off is in no other', () => {
  const [one, other] = [new PendingPrefixes(ZERO), new PendingPrefixes(ZERO)];
  const buffer = new Uint8Array(200).map((_, at) => at);
  one.extendLater(10, buffer, 0, 100);
  other.extendLater(10, buffer, 100, 200);
  other.extend(10, latin1(digestOf(1)));
  other.extendLater(10, buffer, 20, 40);
  other.finish();
  const first = sha256(ZERO.pcr10, sha256(buffer.subarray(100, 200)));
  const second = sha256(first, digestOf(1));
  assert.deepEqual(other.at(1).pcr10, first);
  assert.deepEqual(other.at(2).pcr10, second);
  assert.deepEqual(other.at(3).pcr10, sha256(second, sha256(buffer.subarray(20, 40))));
});
