import assert from 'node:assert/strict';
import { sha256, ZERO_SHA256 } from '../../src/bytes/sha256.ts';
import { ListReplay } from '../../src/ima/list-replay.ts';
import type { Measurement } from '../../src/ima/measurement.ts';
import { isLacreError } from '../../src/lacre-error.ts';
import { concat, evmSigFields, legacyEntry, listEntry } from '../simulator/hostile-entry.ts';
import { type FuzzTarget, vectorFiles } from './engine/target.ts';

const start = { pcr10: ZERO_SHA256, pcr13: ZERO_SHA256, pcr14: ZERO_SHA256 };
const digest = sha256(Buffer.from('x'));
const modsig = [Uint8Array.of(3, 1), concat(Buffer.from('sha256:\0'), digest), Uint8Array.of(5)];

const everyTemplate = () =>
  concat(
    legacyEntry('/bin/a'),
    listEntry({ template: 'ima-ng' }),
    listEntry({ template: 'ima-ngv2' }),
    listEntry({ template: 'ima-sig', rest: [Uint8Array.of(3, 2, 1)] }),
    listEntry({ template: 'ima-sigv2' }),
    listEntry({ template: 'ima-buf', digest: sha256(Buffer.from('a')), rest: [Buffer.from('a')] }),
    listEntry({ template: 'ima-modsig', rest: modsig }),
    listEntry({ template: 'evm-sig', rest: evmSigFields(200_000, 200_001, 0o100644), pcr: 13 }),
    listEntry({ violation: true, path: '/var/log/x' }),
    listEntry({ algorithm: 'sha384', digest: new Uint8Array(48), pcr: 14, path: 'a b\n\\c' }),
  );

/** Entries of a list, or the code that it is refused with. */
function read(pieces: readonly Uint8Array[]): string | { entries: Measurement[]; replay: ListReplay } {
  const replay = new ListReplay(start);
  const entries: Measurement[] = [];
  try {
    for (const piece of pieces) entries.push(...replay.append(piece));
  } catch (error) {
    if (isLacreError(error)) return error.code;
    throw error;
  }
  return { entries, replay };
}

/** In one piece and in three, a list must say the same. */
export const target: FuzzTarget = {
  parsers: [
    'src/ima/list-replay.ts#append',
    'src/ima/entry-reader.ts#read',
    'src/ima/frame.ts#read',
    'src/ima/template.ts#read',
    'src/ima/template.ts#readFileDigest',
    'src/ima/measured-name.ts#decodeName',
  ],
  seeds: () => [everyTemplate(), ...vectorFiles('ima', '.list').map((list) => list.slice(0, 4096))],
  words: [
    ...['ima-ng', 'ima-ngv2', 'ima-sig', 'ima-sigv2', 'ima-buf', 'ima-modsig', 'evm-sig', 'd-ng|n-ng'],
    ...['sha256:\0', 'sha1:\0', 'sha384:\0', 'ima:sha256:\0', 'verity:sha256:\0', 'boot_aggregate\0', '/bin/a\0'],
    Uint8Array.of(10, 0, 0, 0),
    new Uint8Array(20),
  ],
  maxBytes: 4 << 20,
  fastMs: 400,
  run: (bytes) => {
    const whole = read([bytes]);
    if (bytes.length > 65_536) return whole;
    const third = Math.floor(bytes.length / 3);
    const pieces = read([bytes.subarray(0, third), bytes.subarray(third, third + 1), bytes.subarray(third + 1)]);
    if (typeof whole === 'string' || typeof pieces === 'string') assert.equal(pieces, whole);
    else {
      assert.deepEqual(pieces.entries, whole.entries);
      assert.deepEqual(pieces.replay.pcrsAt(pieces.replay.length), whole.replay.pcrsAt(whole.replay.length));
    }
    return whole;
  },
};
