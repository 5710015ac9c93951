import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { costFaults } from './engine/cost.ts';
import { loadTarget, targetNames } from './engine/registry.ts';
import type { FuzzTarget } from './engine/target.ts';

after(() => setImmediate(() => process.exit()));

/** Reads by comparing each byte with all before it: what a quadratic parser costs. */
const quadratic: FuzzTarget = {
  parsers: [],
  seeds: () => [Uint8Array.of(1)],
  maxBytes: 16_384,
  run: (bytes) => {
    let equal = 0;
    for (let i = 0; i < bytes.length; i++) for (let j = 0; j < i; j++) equal += bytes[i] === bytes[j] ? 1 : 0;
    return equal;
  },
};

const wasteful: FuzzTarget = {
  parsers: [],
  seeds: () => [Uint8Array.of(1)],
  maxBytes: 16_384,
  run: (bytes) => new Array(bytes.length * 512).fill(1.5),
};

test('a quadratic parser and a wasteful one are noticed', async () => {
  assert.match((await costFaults(quadratic)).join(), /times as long/);
  assert.match((await costFaults(wasteful)).join(), /bytes are kept/);
});

for (const name of targetNames()) {
  test(`${name}: time grows with the size, memory stays within bounds`, async () => {
    assert.deepEqual(await costFaults(await loadTarget(name)), []);
  });
}
