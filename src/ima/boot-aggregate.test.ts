import assert from 'node:assert/strict';
import { test } from 'node:test';
import { replayEventLog } from '../boot/replayed-boot.ts';
import { toHex } from '../bytes/hex.ts';
import { checkBootAggregate } from './boot-aggregate.ts';
import type { Measurement } from './measurement.ts';

const boot = replayEventLog([]);
const good: Measurement = {
  index: 0,
  pcr: 10,
  template: 'ima-ng',
  kind: 'boot-aggregate',
  path: 'boot_aggregate',
  fileDigest: { algorithm: 'sha256', hex: toHex(boot.bootAggregate()) },
  digestState: 'usable',
  violation: false,
  iuid: undefined,
  igid: undefined,
  imode: undefined,
  endOffset: 0,
};

test('the first entry is boot_aggregate, in PCR 10, by the bank of the boot, over its PCRs', () => {
  checkBootAggregate(good, boot);
  const { hex } = good.fileDigest ?? { hex: '' };
  const wrong: Partial<Measurement>[] = [
    { index: 1 },
    { pcr: 13 },
    { pcr: 14 },
    { kind: 'file' },
    { kind: 'boot-aggregate-again' },
    { violation: true },
    { fileDigest: undefined },
    { fileDigest: { algorithm: 'sha512', hex } },
    { fileDigest: { algorithm: 'sha256', hex: '0'.repeat(64) } },
  ];
  for (const change of wrong)
    assert.throws(
      () => checkBootAggregate({ ...good, ...change }, boot),
      { code: 'ima.boot-aggregate' },
      JSON.stringify(change),
    );
});
