import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PrefixSegments } from './prefix-segments.ts';

const WIDTH = 4;
const slotOf = (number: number) => (number * number) % 3;

function valueAfter(number: number): Buffer {
  const value = Buffer.alloc(WIDTH);
  value.writeUInt32LE(number + 1);
  return value;
}

/** Everything that is kept is what was said of these entries. */
function check(segments: PrefixSegments, start: number, end: number): void {
  assert.deepEqual([segments.start, segments.end, segments.length], [start, end, end - start]);
  const value = Buffer.alloc(WIDTH);
  for (let number = start; number < end; number++) {
    segments.copyValue(number, value, 0);
    const kept = [segments.slot(number), segments.before(number), value.readUInt32LE()];
    if (kept[0] !== slotOf(number) || kept[1] !== number - 3 || kept[2] !== number + 1)
      assert.fail(`entry ${number} of ${start} to ${end}: ${kept}`);
  }
}

for (const batch of [7, 64, 100, 256]) {
  test(`entries keep what was said of them, however many are dropped: values of ${batch} at once`, () => {
    for (const drop of [0, 1, 100, 256, 300, 2000]) {
      const segments = new PrefixSegments(WIDTH);
      let start = 0;
      for (let round = 1; segments.end < 1500; round++) {
        const first = segments.end;
        for (let number = first; number < first + batch; number++)
          assert.equal(segments.append(slotOf(number), number - 3), number);
        const values = Array.from({ length: batch }, (_, index) => valueAfter(first + index));
        segments.setValues(first, Buffer.concat(values), batch);
        if (round % 5 !== 0) continue;
        check(segments, start, first + batch);
        const count = Math.min(drop, segments.length);
        segments.drop(count);
        start += count;
        check(segments, start, first + batch);
      }
    }
  });
}

test('a value is set and copied alone, wherever it stands', () => {
  const segments = new PrefixSegments(WIDTH);
  for (let number = 0; number < 600; number++) {
    segments.append(slotOf(number), number - 3);
    segments.setValue(number, Buffer.concat([Buffer.alloc(3), valueAfter(number), Buffer.alloc(5, 0xff)]), 3);
  }
  check(segments, 0, 600);
  const target = Buffer.alloc(WIDTH + 4);
  segments.copyValue(300, target, 2);
  assert.deepEqual(target, Buffer.concat([Buffer.alloc(2), valueAfter(300), Buffer.alloc(2)]));
});

test('the last entry of a PCR is looked for among those that are there', () => {
  const segments = new PrefixSegments(WIDTH);
  for (const slot of [2, 0, 1, 0, 1]) segments.append(slot, -1);
  assert.deepEqual(
    [0, 1, 2].map((slot) => segments.lastOf(slot, 5)),
    [3, 4, 0],
  );
  assert.deepEqual(
    [0, 1, 2].map((slot) => segments.lastOf(slot, 3)),
    [1, 2, 0],
  );
  segments.drop(1);
  assert.deepEqual(
    [0, 1, 2].map((slot) => segments.lastOf(slot, 5)),
    [3, 4, -1],
  );
});
