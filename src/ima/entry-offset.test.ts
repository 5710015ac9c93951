import assert from 'node:assert/strict';
import { test } from 'node:test';
import { concat, frame, legacyEntry, listEntry, templateData } from '../../test/simulator/hostile-entry.ts';
import { ZERO_SHA256 } from '../bytes/sha256.ts';
import { isLacreError } from '../lacre-error.ts';
import { ListReplay } from './list-replay.ts';
import type { ListPcrs } from './pending-prefixes.ts';

const ZERO: ListPcrs = { pcr10: ZERO_SHA256, pcr13: ZERO_SHA256, pcr14: ZERO_SHA256 };
const first = listEntry();

/** Where an error says that its entry begins, the list being appended in these pieces. */
function offsetOf(...pieces: readonly Uint8Array[]): unknown {
  const replay = new ListReplay(ZERO);
  try {
    for (const piece of pieces) replay.append(piece);
  } catch (error) {
    if (isLacreError(error)) return error.details['offset'];
    throw error;
  }
  return assert.fail('nothing is wrong with the list');
}

const wrong: readonly (readonly [string, Uint8Array])[] = [
  ['a PCR', listEntry({ pcr: 11 })],
  ['a template', frame(10, 'n-ng|d-ng', templateData({}))],
  ['a template name', frame(10, 'x'.repeat(65), new Uint8Array())],
  ['template data', frame(10, 'ima-buf', new Uint8Array(64 * 1024 + 1))],
  ['a name of the oldest template', legacyEntry('/'.repeat(256))],
  ['a field', listEntry({ digest: new Uint8Array(31) })],
];
for (const [what, entry] of wrong) {
  test(`an error says where the entry begins in the list: ${what} is wrong`, () => {
    const { length } = first;
    assert.equal(offsetOf(concat(first, entry)), length);
    assert.equal(offsetOf(first, concat(first, first, entry)), 3 * length);
    assert.equal(offsetOf(first, concat(first, entry.subarray(0, 20)), entry.subarray(20)), 2 * length);
  });
}

test('what a list begins with alone tells how long its template digests are, whatever a chunk begins with', () => {
  const wide = Buffer.concat([
    Buffer.from(first).subarray(0, 24),
    Buffer.alloc(12, 9),
    Buffer.from(first).subarray(24),
  ]);
  assert.equal(new ListReplay(ZERO).append(wide).length, 1, 'as the first entry it is read');
  assert.equal(offsetOf(first, concat(first, wide)), 2 * first.length);
  const signed = Buffer.from(listEntry({ rest: [new Uint8Array(200)] }));
  const half = signed.length / 2;
  signed.write('\x07\0\0\0evm', half + 36, 'latin1');
  assert.equal(offsetOf(signed.subarray(0, half), concat(signed.subarray(half), wide)), signed.length);
});
