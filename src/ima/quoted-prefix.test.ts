import assert from 'node:assert/strict';
import { test } from 'node:test';
import { softQuote } from '../../test/simulator/soft-quote.ts';
import { sha256, ZERO_SHA256 } from '../bytes/sha256.ts';
import { QUOTED_PCRS } from '../tpm/quote.ts';
import { PendingPrefixes } from './pending-prefixes.ts';
import { QuotedPrefixSearch } from './quoted-prefix.ts';

const NONE: ReadonlyMap<number, Uint8Array> = new Map();
const FIXED = new Map(QUOTED_PCRS.filter((pcr) => ![10, 13, 14].includes(pcr)).map((pcr) => [pcr, ZERO_SHA256]));
const DIGEST = sha256(Buffer.from('x'));

/** Entries that wait: two in PCR 10 with one in PCR 13 between them. */
function pendingOf(): PendingPrefixes {
  const pending = new PendingPrefixes({ pcr10: ZERO_SHA256, pcr13: ZERO_SHA256, pcr14: ZERO_SHA256 });
  for (const pcr of [10, 13, 10] as const) pending.extend(pcr, Buffer.from(DIGEST).toString('latin1'));
  return pending;
}

const once = sha256(ZERO_SHA256, DIGEST);
const twice = sha256(once, DIGEST);
const VALUES = [
  NONE,
  new Map([[10, once]]),
  new Map([
    [10, once],
    [13, once],
  ]),
  new Map([
    [10, twice],
    [13, once],
  ]),
];

test('a search looks at as many prefixes as it may, the longest first, down to none', () => {
  for (const [count, values] of VALUES.entries()) {
    const search = new QuotedPrefixSearch(pendingOf(), softQuote(values), FIXED);
    for (let left = 3; left > count; left--) assert.equal(search.step(1), 'more');
    assert.equal(search.step(1), count);
    assert.equal(new QuotedPrefixSearch(pendingOf(), softQuote(values), FIXED).step(4 - count), count);
  }
  const never = new QuotedPrefixSearch(pendingOf(), softQuote(new Map([[14, DIGEST]])), FIXED);
  assert.deepEqual([never.step(3), never.step(1), never.step(1)], ['more', 'none', 'none']);
});

test('a PCR whose value is not known, or of another length, is not taken for zero', () => {
  for (const [pcr] of FIXED) {
    const without = new Map([...FIXED].filter(([other]) => other !== pcr));
    for (const fixed of [without, new Map([...FIXED, [pcr, new Uint8Array(20)]])])
      assert.equal(new QuotedPrefixSearch(pendingOf(), softQuote(NONE), fixed).step(9), 'none', `PCR ${pcr}`);
  }
});

test('a quote of one bank explains nothing of a list in the other', () => {
  const wide = new PendingPrefixes({
    pcr10: new Uint8Array(48),
    pcr13: new Uint8Array(48),
    pcr14: new Uint8Array(48),
  });
  assert.equal(new QuotedPrefixSearch(wide, softQuote(NONE), FIXED).step(9), 'none');
  const fixed = new Map([...FIXED].map(([pcr]) => [pcr, new Uint8Array(48)]));
  assert.equal(new QuotedPrefixSearch(wide, softQuote(NONE, undefined, 'sha384'), fixed).step(9), 0);
});
