import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import {
  concat,
  type EntryOptions,
  evmSigFields,
  foldEntries,
  legacyEntry,
  listEntry,
  templateData,
} from '../../test/simulator/hostile-entry.ts';
import { softQuote } from '../../test/simulator/soft-quote.ts';
import { ByteWriter } from '../bytes/byte-writer.ts';
import { sha256, ZERO_SHA256 } from '../bytes/sha256.ts';
import { QUOTED_PCRS } from '../tpm/quote.ts';
import { ListReplay } from './list-replay.ts';
import type { ListPcrs } from './pending-prefixes.ts';

const ZERO: ListPcrs = { pcr10: ZERO_SHA256, pcr13: ZERO_SHA256, pcr14: ZERO_SHA256 };
const FIXED = new Map(QUOTED_PCRS.filter((pcr) => ![10, 13, 14].includes(pcr)).map((pcr) => [pcr, ZERO_SHA256]));
const ENTRIES: readonly EntryOptions[] = [
  { template: 'ima-ng', path: 'boot_aggregate' },
  { template: 'evm-sig', rest: evmSigFields(200_000), path: '/bin/app' },
  { violation: true, path: '/var/log/x' },
  { template: 'ima-sigv2', path: '/bin/b' },
];

/** An entry as the file of another digest has it: binary_runtime_measurements_sha256 and the like, from Linux 6.10 on. */
function bankEntry(options: EntryOptions, algorithm: 'sha256' | 'sha384' | 'sha512'): Uint8Array {
  const data = templateData(options);
  const digest = createHash(algorithm).update(data).digest();
  const template = options.template ?? 'ima-sig';
  const writer = new ByteWriter({ littleEndian: true }).u32(options.pcr ?? 10);
  writer
    .bytes(options.violation ? digest.fill(0) : digest)
    .u32(template.length)
    .bytes(Buffer.from(template));
  return writer.u32(data.length).bytes(data).finish();
}

const quote = softQuote(
  foldEntries(ENTRIES, new Map([...FIXED, [10, ZERO_SHA256], [13, ZERO_SHA256], [14, ZERO_SHA256]])),
);

for (const algorithm of ['sha256', 'sha384', 'sha512'] as const) {
  const list = concat(...ENTRIES.map((entry) => bankEntry(entry, algorithm)));
  test(`the file with ${algorithm} template digests says the same as the default one, cut anywhere`, () => {
    const expected = new ListReplay(ZERO).append(concat(...ENTRIES.map(listEntry)));
    const plain = (found: readonly { endOffset: number }[]) => found.map(({ endOffset: _, ...rest }) => rest);
    for (let length = 0; length <= list.length; length += 7) {
      const replay = new ListReplay(ZERO);
      const found = [...replay.append(list.subarray(0, length)), ...replay.append(list.subarray(length))];
      assert.deepEqual(plain(found), plain(expected), `cut at ${length}`);
      assert.deepEqual(replay.verify(quote, FIXED), { from: 0, to: ENTRIES.length });
    }
  });
}

test('what follows the first entry must be of its format', () => {
  const mixed = concat(bankEntry({}, 'sha256'), listEntry({ path: '/b' }), listEntry({ path: '/c' }));
  assert.throws(() => new ListReplay(ZERO).append(mixed), { name: 'LacreError' });
});

test('a list that begins with neither is refused, or waits for its first entry', () => {
  assert.throws(() => new ListReplay(ZERO).append(new Uint8Array(400).fill(0x41)), { code: 'ima.entry.oversized' });
  assert.deepEqual(new ListReplay(ZERO).append(new Uint8Array(60).fill(0x41)), []);
});

test('a list that was trimmed, or begins anew after kexec, explains no quote of the whole', () => {
  const entries = ENTRIES.map(listEntry);
  for (const list of [
    concat(...entries.slice(1)), // trimmed from the start
    concat(...entries.slice(2)),
    concat(listEntry({ template: 'ima-ng', path: 'boot_aggregate', digest: sha256(Buffer.from('kexec')) })), // a new list
  ]) {
    const replay = new ListReplay(ZERO);
    replay.append(list);
    assert.throws(() => replay.verify(quote, FIXED), { code: 'ima.prefix.unexplained' });
  }
});

test('a list that was carried over kexec is proven as a whole, and says that it was', () => {
  const again: EntryOptions = { template: 'ima-ng', path: 'boot_aggregate', digest: sha256(Buffer.from('kexec')) };
  const carried = [...ENTRIES, again, { path: '/init' }];
  const replay = new ListReplay(ZERO);
  const found = replay.append(concat(...carried.map(listEntry)));
  const values = foldEntries(carried, new Map([...FIXED, [10, ZERO_SHA256], [13, ZERO_SHA256], [14, ZERO_SHA256]]));
  assert.deepEqual(replay.verify(softQuote(values), FIXED), { from: 0, to: carried.length });
  assert.equal(found[0]?.kind, 'boot-aggregate');
  assert.equal(found[ENTRIES.length]?.kind, 'boot-aggregate-again', 'appraisal fails the host for it');
});

test('a recorded list of a real kernel is of the default format', () => {
  const list = readFileSync(new URL('../../vectors/ima/podman-trixie.list', import.meta.url));
  assert.ok(new ListReplay(ZERO).append(list).length > 10);
});

test('the oldest template, cut anywhere, waits for its rest; its digest is refused, or unknown where it is zero', () => {
  const list = concat(legacyEntry('/bin/a'), legacyEntry('/bin/b', new Uint8Array(20)));
  for (let length = 0; length <= list.length; length++) {
    const replay = new ListReplay(ZERO);
    const found = [...replay.append(list.subarray(0, length)), ...replay.append(list.subarray(length))];
    assert.deepEqual(
      found.map(({ path, digestState }) => [path, digestState]),
      [
        ['/bin/a', 'refused'],
        ['/bin/b', 'zero'],
      ],
    );
  }
});

test('a digest with a zero byte in it is not zero', () => {
  for (const at of [0, 10, 19]) {
    const digest = new Uint8Array(20).fill(7).with(at, 0);
    assert.equal(new ListReplay(ZERO).append(legacyEntry('/bin/a', digest))[0]?.digestState, 'refused');
    assert.equal(
      new ListReplay(ZERO).append(legacyEntry('/bin/a', new Uint8Array(20).with(at, 7)))[0]?.digestState,
      'refused',
    );
  }
});

test('lengths up to their bound are waited for, one more is refused at once', () => {
  const head = (...parts: (number | string)[]) => {
    const writer = new ByteWriter({ littleEndian: true }).u32(10).bytes(new Uint8Array(20).fill(9));
    for (const part of parts) typeof part === 'number' ? writer.u32(part) : writer.bytes(Buffer.from(part));
    return writer.finish();
  };
  const first = listEntry({ template: 'ima-ng', path: 'boot_aggregate' });
  const oldName = (length: number) => concat(legacyEntry('x').subarray(0, 51), head(length).subarray(24));
  for (const [most, made] of [
    [64, (length: number) => head(length)],
    [64 * 1024, (length: number) => head(6, 'ima-ng', length)],
    [255, oldName],
  ] as const) {
    assert.deepEqual(new ListReplay(ZERO).append(concat(first, made(most))).length, 1, String(most));
    assert.throws(() => new ListReplay(ZERO).append(concat(first, made(most + 1))), { code: 'ima.entry.oversized' });
  }
});

test('a violation in the oldest template is one', () => {
  const violated = Buffer.from(legacyEntry('/bin/a'));
  violated.fill(0, 4, 24);
  const [found] = new ListReplay(ZERO).append(violated);
  assert.deepEqual([found?.violation, found?.digestState], [true, 'zero']);
});
