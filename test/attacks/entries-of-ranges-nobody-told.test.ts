import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { DomainBook } from '../../src/container/domain-book.ts';
import { decodeContainer, encodeContainer } from '../../src/container/record.ts';
import { MeasuredFile } from '../../src/ima/measured-file.ts';
import { ListedMeasurement, type Measurement } from '../../src/ima/measurement.ts';
import { NodeObservationSchema } from '../../src/proto/lacre/v1/record_pb.ts';
import { EntrySorter } from '../../src/server/node-state-entries.ts';
import { containerOf, POOL_BASE, uidOf } from '../simulator/scripted-node.ts';

// A liar of an agent (A2) executes files of as many uid ranges as he can, tells no container for any of them, and then
// tells of containers one by one. Entries that wait for their owner must cost little, at every message and when they age.
// No code is told: nothing is judged here, it is the time that counts, and that what was dropped is not forgotten. What
// such entries do to a verdict: entries-of-an-unknown-range.test.ts.

const ENTRIES = 90_000;
const observation = create(NodeObservationSchema, { unprivilegedUsernsClone: 1 });

function entry(index: number, iuid: number): Measurement {
  const file = MeasuredFile.ofSha256(`/bin/${index}`, index.toString(16).padStart(64, '0'));
  const place = { index, pcr: 10, template: 'evm-sig', violation: false, endOffset: index };
  return new ListedMeasurement(file, place, { iuid, igid: iuid, imode: 0o755 });
}

function bookOf(...numbers: number[]): DomainBook {
  const book = new DomainBook(POOL_BASE);
  const changed = numbers.map((number) => decodeContainer(encodeContainer(containerOf(number))));
  book.apply({ changed, gone: [], complete: true, observation });
  return book;
}

function timed(work: () => unknown): number {
  const started = performance.now();
  work();
  return performance.now() - started;
}

test('an entry finds the container that is told after it', async () => {
  const sorter = new EntrySorter(POOL_BASE);
  sorter.append([entry(0, uidOf(7))], bookOf());
  await sorter.settle(1, () => bookOf(), new Date(0));
  const book = bookOf(7);
  sorter.ranges(book);
  const [domain] = book.domains();
  assert.equal(sorter.quoted.domain(domain?.id ?? '').sightings.list.length, 1);
  assert.equal(sorter.age(new Date(60_000)), 0);
});

test('many that nobody tells of age at once, and hold up no message', async () => {
  const sorter = new EntrySorter(POOL_BASE);
  const book = bookOf(1);
  const entries = Array.from({ length: ENTRIES }, (_, i) => entry(i, 3_000_000_000 + i));
  sorter.append(entries, book);
  await sorter.settle(ENTRIES, () => book, new Date(0));
  const messagesMs = timed(() => {
    for (let i = 0; i < 100; i++) sorter.ranges(book);
  });
  assert.ok(messagesMs < 500, `100 messages that tell of no new range took ${messagesMs} ms`);
  const agedMs = timed(() => assert.equal(sorter.age(new Date(60_000)), ENTRIES));
  assert.ok(agedMs < 1_000, `ageing took ${agedMs} ms`);
  assert.ok(sorter.quoted.unattributed.sightings.dropped > 0, 'what is too much fails those that could have made it');
});

test('nor do entries that no quote covers', async () => {
  const sorter = new EntrySorter(POOL_BASE);
  const book = bookOf(1);
  await sorter.settle(0, () => book, new Date(0));
  sorter.append(
    Array.from({ length: ENTRIES }, (_, i) => entry(i, uidOf(1))),
    book,
  );
  const messagesMs = timed(() => {
    for (let i = 0; i < 100; i++) sorter.ranges(book);
  });
  assert.ok(messagesMs < 500, `100 messages that tell of no new range took ${messagesMs} ms`);
});
