import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { pump, type Sink } from './pump.ts';

/** Pieces of ten bytes, counted as they are taken. */
function countedSource(pieces: number, { slow = false } = {}) {
  const state = { taken: 0, closed: false };
  const source = (async function* () {
    try {
      for (let i = 0; i < pieces; i++) {
        state.taken++;
        if (slow) await turn();
        yield new Uint8Array(10);
      }
    } finally {
      state.closed = true;
    }
  })();
  return { source, state };
}

const sinkOf = (highWaterMark: number) => new PassThrough({ highWaterMark });
const turns = async (count: number) => {
  for (let i = 0; i < count; i++) await turn();
};

test('everything is written, and the sink ended', async () => {
  const sink = sinkOf(5);
  const { source } = countedSource(20);
  const pumping = pump(source, sink as Sink);
  let bytes = 0;
  for await (const chunk of sink) bytes += (chunk as Uint8Array).length;
  await pumping;
  assert.equal(bytes, 200);
});

test('no more is taken from the source than the sink drains', async () => {
  const sink = sinkOf(5);
  const { source, state } = countedSource(1000);
  const pumping = pump(source, sink as Sink);
  await turns(20);
  const before = state.taken;
  assert.ok(before <= 3, `${before} taken`);
  sink.resume();
  await pumping;
  assert.equal(state.taken, 1000);
});

test('a sink that is destroyed ends it, and closes the source, be it waited for or not', async () => {
  for (const waits of [true, false]) {
    const sink = sinkOf(waits ? 5 : 1_000_000);
    const { source, state } = countedSource(1000, { slow: !waits });
    const pumping = pump(source, sink as Sink);
    await turns(3);
    sink.destroy();
    await pumping;
    assert.ok(state.closed);
    assert.ok(state.taken < 100, `${state.taken} taken`);
  }
});

test('a sink that is destroyed before the first piece comes takes none', async () => {
  const sink = sinkOf(5);
  const { source, state } = countedSource(10, { slow: true });
  const pumping = pump(source, sink as Sink);
  sink.destroy();
  await pumping;
  assert.deepEqual(state, { taken: 1, closed: true });
});

test('a source that fails destroys the sink with its error, and rejects nothing', async () => {
  const sink = sinkOf(5);
  const fault = new RangeError('disk');
  const failing = (async function* () {
    yield new Uint8Array(1);
    throw fault;
  })();
  const errors: unknown[] = [];
  sink.on('error', (error) => errors.push(error));
  await pump(failing, sink as Sink);
  await turns(3);
  assert.deepEqual(errors, [fault]);
  assert.ok(sink.destroyed);
});
