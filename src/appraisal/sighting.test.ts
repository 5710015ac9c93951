import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listEntry } from '../../test/simulator/hostile-entry.ts';
import { ZERO_SHA256 } from '../bytes/sha256.ts';
import { ListReplay } from '../ima/list-replay.ts';
import { POLICY_PCRS } from '../ima/policy.ts';
import { EXECUTED_PCR, type Measured, READ_PCR, sightingOf, UNTRUSTED_PCR } from './sighting.ts';

const HEX = 'ab'.repeat(32);
const ENTRY: Measured = {
  index: 5,
  pcr: 13,
  template: 'evm-sig',
  path: '/a',
  kind: 'file',
  fileDigest: { algorithm: 'sha256', hex: HEX },
  digestState: 'usable',
  violation: false,
  iuid: 7,
};

test('PCRs are those that the policy writes to', () => {
  assert.deepEqual({ executed: EXECUTED_PCR, read: READ_PCR, untrustedFileSystem: UNTRUSTED_PCR }, POLICY_PCRS);
});

test('an entry as it was read from a list is its own sighting', () => {
  const replay = new ListReplay({ pcr10: ZERO_SHA256, pcr13: ZERO_SHA256, pcr14: ZERO_SHA256 });
  const [entry] = replay.append(listEntry({ path: '/a' }));
  assert.ok(entry);
  assert.equal(sightingOf(entry), entry);
});

test('a sighting says what its entry says', () => {
  const buffer = new Uint8Array(1);
  const { file, ...rest } = sightingOf({ ...ENTRY, buffer });
  const { violation: _, fileDigest, ...said } = ENTRY;
  assert.deepEqual(rest, { ...said, ...fileDigest, buffer });
  assert.deepEqual([file?.path, file?.hex], ['/a', HEX]);
});

test('only a file with a SHA-256 digest is compared as one', () => {
  const none = { algorithm: '', hex: '' };
  for (const [fields, said] of [
    [{ kind: 'buffer' }, { algorithm: 'sha256', hex: HEX, digestState: 'usable' }],
    [{ kind: 'boot-aggregate' }, { algorithm: 'sha256', hex: HEX, digestState: 'usable' }],
    [{ fileDigest: { algorithm: 'sha512', hex: HEX } }, { algorithm: 'sha512', hex: HEX, digestState: 'usable' }],
    [
      { fileDigest: undefined, digestState: 'zero' },
      { ...none, digestState: 'zero' },
    ],
    [
      { fileDigest: undefined, digestState: 'refused' },
      { ...none, digestState: 'refused' },
    ],
    [{ fileDigest: undefined }, { ...none, digestState: 'zero' }],
  ] as const) {
    const sighting = sightingOf({ ...ENTRY, ...fields });
    assert.partialDeepStrictEqual(sighting, said);
    assert.equal('file' in sighting, false, JSON.stringify(fields));
  }
});
