import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { at } from '../bytes/at.ts';
import { sha256, ZERO_SHA256 } from '../bytes/sha256.ts';
import { LIST_PCRS, type ListPcr, type ListPcrs, PendingPrefixes, prepareFolds } from './pending-prefixes.ts';

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

const entriesOf = fc.array(fc.record({ pcr: fc.constantFrom(...LIST_PCRS), later: fc.boolean() }), { maxLength: 700 });
/** What `digestOf` hashes, one behind the other. */
const SEEDS = Uint8Array.from({ length: 1400 }, (_, at) => (at % 2 === 0 ? at >> 1 : at >> 9));

test('values at any point are those that were there, before and after entries were dropped', () => {
  fc.assert(
    fc.property(entriesOf, fc.array(fc.nat(700), { maxLength: 4 }), (entries, drops) => {
      const pcrs = entries.map(({ pcr }) => pcr);
      const expected = valuesAfter(pcrs);
      const pending = new PendingPrefixes(ZERO);
      let dropped = 0;
      let added = 0;
      for (const [index, drop] of [...drops, 0].entries()) {
        const until = index === drops.length ? pcrs.length : Math.min(pcrs.length, added + drop);
        for (; added < until; added++) {
          const { pcr, later } = at(entries, added);
          if (later) pending.extendLater(pcr, SEEDS, 2 * added, 2 * added + 2);
          else pending.extend(pcr, latin1(digestOf(added)));
        }
        const count = drop % (pending.length + 1);
        pending.drop(count);
        dropped += count;
        assert.deepEqual(pending.at(0), expected[dropped]);
        assert.deepEqual(pending.at(pending.length), expected[added]);
        assert.deepEqual(pending.at(pending.length >> 1), expected[dropped + (pending.length >> 1)]);
      }
    }),
    { numRuns: 40 },
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

test('values and walks have what was put off in them, without being told to', () => {
  const buffer = Buffer.from('an entry and one more');
  const pending = new PendingPrefixes(ZERO);
  pending.extendLater(10, buffer, 0, 8);
  const first = sha256(ZERO.pcr10, sha256(buffer.subarray(0, 8)));
  assert.deepEqual(pending.at(1).pcr10, first);
  pending.extendLater(10, buffer, 8, buffer.length);
  const walk = pending.walk();
  assert.deepEqual(walk.pcrs().pcr10, sha256(first, sha256(buffer.subarray(8))));
  assert.equal(walk.back(), 10);
  assert.deepEqual(walk.pcrs(), { ...ZERO, pcr10: first });
});

test('a waiting entry costs some 40 bytes, and one that is proven none', () => {
  setFlagsFromString('--expose-gc');
  const collect: () => void = runInNewContext('gc');
  const bytesKept = () => {
    for (let again = 0; again < 2; again++) collect(); // the second one ends what the first one left to sweep
    return process.memoryUsage().arrayBuffers;
  };
  const digest = latin1(digestOf(1));
  const before = bytesKept();
  const lists = Array.from({ length: 20 }, () => new PendingPrefixes(ZERO));
  for (const pending of lists) for (let i = 0; i < 1000; i++) pending.extend(10, digest);
  const waiting = bytesKept() - before;
  assert.ok(waiting < 20 * 1100 * 45, `${waiting}`);
  for (const pending of lists) pending.drop(1000);
  const proven = bytesKept() - before;
  assert.ok(proven < 20 * 7000, `${proven}`);
});

test('what the first list would wait for is made ready without a change of what it computes', () => {
  const folded = () => {
    const pending = new PendingPrefixes(ZERO);
    pending.extendLater(10, SEEDS, 0, 2);
    pending.finish();
    return pending.at(1);
  };
  const before = folded();
  prepareFolds();
  prepareFolds();
  assert.deepEqual(folded(), before);
  assert.deepEqual(before, valuesAfter([10])[1]);
});
