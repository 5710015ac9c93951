import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeProcessRecord, type RecordedProcess } from './process-record.ts';
import { decodeRecord, encodeRecord, makeRecord } from './record.ts';

const CONTAINER = { id: 'c0'.repeat(32), sha256: new Uint8Array(32).fill(7) };
const PLAIN: RecordedProcess = {
  uid: 200_001,
  gid: 200_002,
  executable: '/bin/app',
  isInitFamily: true,
  joinedByExec: false,
  startTicks: 123_456n,
};
const OTHERS: readonly Partial<RecordedProcess>[] = [
  {},
  { uid: 0, gid: 0, executable: '', isInitFamily: false, startTicks: 0n },
  { uid: 127, gid: 128 },
  { uid: 16_383, gid: 16_384, startTicks: 2n ** 32n },
  { uid: 0xffff_ffff, gid: 0xffff_ffff, startTicks: BigInt(Number.MAX_SAFE_INTEGER) },
  { isInitFamily: false, joinedByExec: true },
  { executable: `/${'a'.repeat(126)}` },
  { executable: `/${'a'.repeat(127)}` },
  { executable: `/${'\u20ac'.repeat(8191)}`, uid: 0xffff_ffff, gid: 0xffff_ffff },
  { startTicks: 2n ** 53n },
  { startTicks: 2n ** 64n - 1n },
];

test('a process is recorded byte for byte as by the message', () => {
  for (const other of OTHERS) {
    const process = { ...PLAIN, ...other };
    const fields = { containerSha256: CONTAINER.sha256, containerId: CONTAINER.id, ...process };
    const bytes = encodeProcessRecord(CONTAINER, process);
    assert.deepEqual(bytes, encodeRecord(makeRecord(fields)));
    assert.equal(decodeRecord(bytes).claim.startTicks, process.startTicks);
  }
});

test('what no server would take is not recorded', () => {
  const malformed = { code: 'container.malformed' };
  assert.throws(() => encodeProcessRecord({ ...CONTAINER, id: 'c0' }, PLAIN), malformed);
  assert.throws(() => encodeProcessRecord({ ...CONTAINER, sha256: new Uint8Array(31) }, PLAIN), malformed);
  assert.throws(() => encodeProcessRecord(CONTAINER, { ...PLAIN, joinedByExec: true }), malformed);
  assert.throws(() => encodeProcessRecord(CONTAINER, { ...PLAIN, executable: 'a\0b' }), malformed);
  assert.throws(() => encodeProcessRecord(CONTAINER, { ...PLAIN, executable: 'a'.repeat(8193) }), malformed);
});
