import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  decodeContainer,
  decodeRecord,
  encodeContainer,
  encodeRecord,
  makeRecord,
} from '../../src/container/record.ts';
import { containerOf } from '../simulator/scripted-node.ts';

// A liar of an agent (A2) encodes a container or record so that two readers see two things: a field twice, unknown fields,
// values that no field has, orders of his own. One state has one encoding and so one hash.

const container = encodeContainer(containerOf(1));
const record = encodeRecord(makeRecord({ containerSha256: new Uint8Array(32), containerId: 'ab'.repeat(32) }));
const bytes = (...values: number[]) => Uint8Array.from(values);
const joined = (...parts: Uint8Array[]) => new Uint8Array(Buffer.concat(parts));

test('the canonical encoding is read', () => {
  assert.equal(decodeContainer(container).claim.name, 'app-1');
  assert.equal(decodeRecord(record).claim.containerId, 'ab'.repeat(32));
});

const NAME = joined(bytes((5 << 3) | 2, 6), new Uint8Array(Buffer.from('orders')));
for (const [what, changed, code] of [
  ['a second name', joined(container, NAME), 'container.not-canonical'],
  ['an unknown field', joined(container, bytes(0xf8, 0x7f, 1)), 'container.not-canonical'],
  ['fields in another order', joined(NAME, container), 'container.not-canonical'],
  [
    'a default that is written out',
    joined(bytes(((25 << 3) & 0x7f) | 0x80, 1, 0), container),
    'container.not-canonical',
  ],
  ['a length over its end', joined(container, bytes((5 << 3) | 2, 200, 1)), 'container.malformed'],
  [
    'a version in more bytes than it needs',
    joined(bytes(8, 0x81, 0), container.subarray(2)),
    'container.not-canonical',
  ],
  ['an unknown relation', encodeWithRelation(9), 'container.malformed'],
  ['an invalid UTF-8 name', joined(container, bytes((5 << 3) | 2, 1, 0xff)), 'container.malformed'],
] as const) {
  test(`${what} is refused`, () => {
    assert.throws(() => decodeContainer(changed), { code });
  });
}

test('a record with a field twice is refused', () => {
  assert.throws(() => decodeRecord(joined(record, bytes(4 << 3, 0, 4 << 3, 1))), { code: 'container.not-canonical' });
});

/** environment = 14: one name with a relation of this number. */
function encodeWithRelation(relation: number): Uint8Array {
  const base = containerOf(1, {
    mounts: [],
    seccompMode: 0,
    seccompSha256: new Uint8Array(),
    seccompDeniesUserns: false,
  });
  const start = encodeContainer({ ...base, noNewPrivs: false, uidMap: [] });
  return joined(start, bytes((14 << 3) | 2, 5, 10, 1, 0x41, 16, relation));
}
