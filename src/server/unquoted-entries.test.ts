import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { concat, evmSigFields, listEntry } from '../../test/simulator/hostile-entry.ts';
import { ZERO_SHA256 } from '../bytes/sha256.ts';
import { ListReplay } from '../ima/list-replay.ts';
import type { Measurement } from '../ima/measurement.ts';
import { UnquotedEntries } from './unquoted-entries.ts';

const COUNT = 1200;
const list = concat(
  ...Array.from({ length: COUNT }, (_, at) => {
    if (at % 7 === 0) return listEntry({ violation: true, path: `/v${at}`, template: 'ima-ng', rest: [] });
    if (at % 5 === 0) return listEntry({ template: 'ima-ng', path: `/host/${at}`, rest: [] });
    return listEntry({
      pcr: at % 3 === 0 ? 13 : 10,
      template: 'evm-sig',
      path: `/app/${at % 50}`,
      rest: evmSigFields(at),
    });
  }),
);
const entries = new ListReplay({ pcr10: ZERO_SHA256, pcr13: ZERO_SHA256, pcr14: ZERO_SHA256 }).append(list);

/** What sorting and judging ask of an entry. */
function said({ index, pcr, template, kind, path, fileDigest, digestState, violation, iuid, buffer }: Measurement) {
  return { index, pcr, template, kind, path, fileDigest, digestState, violation, iuid, buffer };
}

test('entries come out as they went in, however many are dropped in between', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(700), fc.nat(900)), { maxLength: 6 }), fc.nat(3), (steps, written) => {
      const kept = new UnquotedEntries();
      let [from, to] = [0, 0];
      for (const [more, dropped] of steps) {
        const end = Math.min(COUNT, to + more);
        // Some that were written by hand, as a test would.
        for (const entry of entries.slice(to, end))
          kept.push(entry.index % 4 < written ? (said(entry) as Measurement) : entry);
        to = end;
        const count = Math.min(dropped, to - from);
        kept.drop(count);
        from += count;
        assert.equal(kept.length, to - from);
        if (to > from) assert.equal(kept.first, from);
        assert.deepEqual(
          Array.from({ length: kept.length }, (_, at) => said(kept.get(at))),
          entries.slice(from, to).map(said),
        );
      }
    }),
    { numRuns: 60 },
  );
});

test('what is not there is a fault of ours', () => {
  assert.throws(() => new UnquotedEntries().get(0), RangeError);
});
