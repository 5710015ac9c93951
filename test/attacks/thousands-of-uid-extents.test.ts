import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { DomainBook } from '../../src/container/domain-book.ts';
import { decodeContainer, encodeContainer } from '../../src/container/record.ts';
import { NodeObservationSchema } from '../../src/proto/lacre/v1/record_pb.ts';
import { containerOf, POOL_BASE } from '../simulator/scripted-node.ts';

// A liar of an agent (A2) tells of containers whose uid maps have as many extents as a kernel allows, all different, again
// and again. The server keeps ranges for the epoch, sorted: without a bound both memory and time grow with his telling.

const observation = create(NodeObservationSchema, { unprivilegedUsernsClone: 1 });

function withExtents(number: number, extents: number, firstOutside: number) {
  const uidMap = Array.from({ length: extents }, (_, i) => ({
    $typeName: 'lacre.v1.IdExtent' as const,
    inside: i,
    outside: firstOutside - 2 * i,
    length: 1,
  }));
  return decodeContainer(encodeContainer(containerOf(number, { uidMap })));
}

test('containers of a few extents are recorded', () => {
  const book = new DomainBook(POOL_BASE);
  const changed = Array.from({ length: 100 }, (_, i) => withExtents(i + 1, 3, 4_000_000 - 10 * i));
  book.apply({ changed, gone: [], complete: true, observation });
  assert.equal(book.ranges.size, 300);
  assert.equal(
    [...book.standings()].every(({ attribution }) => attribution === 'shared'),
    true,
  );
});

test('too many are refused, before they cost anybody time', () => {
  const book = new DomainBook(POOL_BASE);
  const changed = Array.from({ length: 1000 }, (_, i) => withExtents(i + 1, 340, 4_000_000_000 - 700 * i));
  const before = process.threadCpuUsage();
  assert.throws(() => book.apply({ changed, gone: [], complete: true, observation }), { code: 'container.oversized' });
  const { user, system } = process.threadCpuUsage(before);
  assert.ok(user + system < 2_000_000, `it took ${user + system} µs of CPU`);
  assert.ok(book.ranges.size <= 65_536);
});
