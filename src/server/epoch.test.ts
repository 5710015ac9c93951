import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isLacreError } from '../lacre-error.ts';
import { type ClockPoint, chooseEpoch, requireSameEpoch } from './epoch.ts';
import type { EpochRow } from './store-evidence.ts';

const POINT: ClockPoint = { akNameHex: '000b', resetCount: 3, restartCount: 1, clock: 1000n };
const STORED: EpochRow = {
  ...POINT,
  epoch: 'first',
  verifiedIndex: 10,
  verifiedBytes: 1000,
  pcr10: new Uint8Array(32),
  pcr13: new Uint8Array(32),
  pcr14: new Uint8Array(32),
  eventLogSha256Hex: '',
  evidenceAt: new Date(0),
};

test('without a stored epoch one is drawn', () => {
  assert.deepEqual(chooseEpoch(undefined, POINT, 'shorter'), { continues: false, carriesTaints: false });
});

test('an epoch goes on over a list that passes through its verified PCRs', () => {
  const later = { ...POINT, clock: 1001n };
  assert.deepEqual(chooseEpoch(STORED, later, 'same'), { continues: true, carriesTaints: true });
});

for (const [what, change, reset] of [
  ['a reset', { resetCount: 4 }, true],
  ['a restart', { restartCount: 2 }, true],
  ['a lower clock', { clock: 999n }, false],
  ['another key', { akNameHex: '000c' }, false],
] as const) {
  test(`${what} ends an epoch; taints stay where list or TPM show the same boot`, () => {
    const seen = { ...POINT, ...change };
    assert.deepEqual(chooseEpoch(STORED, seen, 'same'), { continues: false, carriesTaints: true });
    assert.deepEqual(chooseEpoch(STORED, seen, 'different'), { continues: false, carriesTaints: !reset });
    assert.deepEqual(chooseEpoch(STORED, seen, 'shorter'), { continues: false, carriesTaints: !reset });
    assert.throws(
      () => requireSameEpoch(POINT, seen),
      (error) => isLacreError(error, 'server.epoch.ended'),
    );
  });
}

test('a shorter list ends an epoch, and frees from nothing', () => {
  assert.deepEqual(chooseEpoch(STORED, POINT, 'shorter'), { continues: false, carriesTaints: true });
});

test('the same life of the TPM with another list is a contradiction', () => {
  assert.throws(
    () => chooseEpoch(STORED, POINT, 'different'),
    (error) => isLacreError(error, 'server.epoch.contradiction'),
  );
});

test('within a session the clock may stand still or go on', () => {
  requireSameEpoch(POINT, POINT);
  requireSameEpoch(POINT, { ...POINT, clock: 5000n });
});
