import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { concat, type EntryOptions, evmSigFields, foldEntries, listEntry } from '../../test/simulator/hostile-entry.ts';
import { softQuote } from '../../test/simulator/soft-quote.ts';
import { parseEventLog } from '../boot/event-log.ts';
import { type ReplayedBoot, replayEventLog } from '../boot/replayed-boot.ts';
import { fromHex, toHex } from '../bytes/hex.ts';
import { sha256, ZERO_SHA256 } from '../bytes/sha256.ts';
import { LacreError } from '../lacre-error.ts';
import { verifyAttestationKey } from '../tpm/attestation-key.ts';
import { parsePublicArea } from '../tpm/public-area.ts';
import { QUOTED_PCRS, type VerifiedQuote, verifyQuote } from '../tpm/quote.ts';
import { checkBootAggregate } from './boot-aggregate.ts';
import { ListReplay } from './list-replay.ts';
import type { Measurement } from './measurement.ts';
import type { ListPcrs } from './pending-prefixes.ts';

interface ListVector {
  note: string;
  boot: string;
  quotedBy: string;
  entries: number;
  quotedEntries: number;
  perPcr: Record<string, number>;
  violations: number;
  last: { path: string; pcr: number; template: string };
  pcrsHex: Record<string, string>;
  apps: { index: number; path: string; sha256Hex: string; iuid: number }[];
}

const folder = new URL('../../vectors/', import.meta.url);
const load = <T>(path: string): T => JSON.parse(readFileSync(new URL(path, folder), 'utf8'));
const bytesOf = (path: string): Buffer => readFileSync(new URL(path, folder));
const FIXED_PCRS = QUOTED_PCRS.filter((pcr) => ![10, 13, 14].includes(pcr));
const ZERO: ListPcrs = { pcr10: ZERO_SHA256, pcr13: ZERO_SHA256, pcr14: ZERO_SHA256 };
const BIG = new Uint8Array(65_000);
const FIXED = new Map(FIXED_PCRS.map((pcr) => [pcr, new Uint8Array(32).fill(pcr)]));

function startOf(boot: ReplayedBoot): ListPcrs {
  return { pcr10: boot.pcr(10), pcr13: boot.pcr(13), pcr14: boot.pcr(14) };
}

function quoteOf(path: string): VerifiedQuote {
  const vector = load<
    Record<'akPublicHex' | 'attestHex' | 'signatureHex' | 'extraDataHex', string> & { pcrs: number[] }
  >(path);
  return verifyQuote({
    attest: fromHex(vector.attestHex),
    signature: fromHex(vector.signatureHex),
    key: verifyAttestationKey(parsePublicArea(fromHex(vector.akPublicHex))),
    extraData: fromHex(vector.extraDataHex),
    pcrs: vector.pcrs,
  });
}

function valuesAt(replay: ListReplay, index: number, fixed: ReadonlyMap<number, Uint8Array>): Map<number, Uint8Array> {
  const pcrs = replay.pcrsAt(index);
  assert.ok(pcrs !== undefined);
  return new Map([...fixed, [10, pcrs.pcr10], [13, pcrs.pcr13], [14, pcrs.pcr14], [11, ZERO_SHA256]]);
}

for (const file of readdirSync(new URL('ima/', folder)).filter((name) => name.endsWith('.json'))) {
  const vector = load<ListVector>(`ima/${file}`);
  test(`${file}: ${vector.note}`, () => {
    const boot = replayEventLog(parseEventLog(bytesOf(`boot/${vector.boot}.log`)));
    const replay = new ListReplay(startOf(boot));
    const list = bytesOf(`ima/${file.replace('.json', '.list')}`);
    const found = replay.append(list);
    assert.equal(found.length, vector.entries);
    assert.equal(found.at(-1)?.endOffset, list.length);
    for (const [pcr, count] of Object.entries(vector.perPcr)) {
      assert.equal(found.filter((entry) => entry.pcr === Number(pcr)).length, count, `PCR ${pcr}`);
    }
    assert.equal(found.filter(({ violation }) => violation).length, vector.violations);
    const { path, pcr, template } = found.at(-1) ?? assert.fail('no entries');
    assert.deepEqual({ path, pcr, template }, vector.last);
    const after = replay.pcrsAt(vector.entries);
    assert.deepEqual(
      {
        '10': toHex(after?.pcr10 ?? ZERO_SHA256),
        '13': toHex(after?.pcr13 ?? ZERO_SHA256),
        '14': toHex(after?.pcr14 ?? ZERO_SHA256),
      },
      vector.pcrsHex,
    );
    const apps = found.filter((entry) => entry.path === '/bin/app' && entry.template === 'evm-sig');
    assert.deepEqual(
      apps.map((app) => ({ index: app.index, path: app.path, sha256Hex: app.fileDigest?.hex, iuid: app.iuid })),
      vector.apps,
    );
    checkBootAggregate(found[0] ?? assert.fail('no entries'), boot);
    const quote = quoteOf(vector.quotedBy);
    for (let index = 0; index <= vector.entries; index++) {
      const explains = quote.explains(valuesAt(replay, index, boot.pcrs(FIXED_PCRS)));
      assert.equal(explains, index === vector.quotedEntries, `prefix of ${index}`);
    }
  });
}

const sealedBoot = replayEventLog(parseEventLog(bytesOf('boot/ovmf-sealed.log')));
const sealedQuote = quoteOf('tpm/quote/sealed-good.json');
const sealedList = bytesOf('ima/sealed.list');
const sealedFixed = sealedBoot.pcrs(FIXED_PCRS);

function verifySealed(
  list: Uint8Array,
  fixed: ReadonlyMap<number, Uint8Array> = sealedFixed,
): { from: number; to: number } {
  const replay = new ListReplay(startOf(sealedBoot));
  replay.append(list);
  return replay.verify(sealedQuote, fixed);
}

test('a real quote over PCR 0-10 and 12-14 proves the whole list of the sealed node', () => {
  assert.deepEqual(verifySealed(sealedList), { from: 0, to: 175 });
});

test('entries behind the quoted prefix stay unproven', () => {
  const replay = new ListReplay(startOf(sealedBoot));
  const extra = concat(
    listEntry({ path: '/bin/later' }),
    listEntry({ pcr: 13, path: '/etc/later' }),
    listEntry({ pcr: 14 }),
  );
  replay.append(concat(sealedList, extra, extra));
  assert.deepEqual(replay.verify(sealedQuote, sealedFixed), { from: 0, to: 175 });
  assert.equal(replay.length, 181);
  assert.equal(replay.verifiedLength, 175);
  assert.equal(replay.verifiedByteLength, sealedList.length);
});

const ends = new ListReplay(ZERO).append(sealedList).map(({ endOffset }) => endOffset);
const pieceOf = (index: number): Uint8Array => sealedList.subarray(ends[index - 1] ?? 0, ends[index]);
const pieces: Uint8Array[] = ends.map((_, index) => pieceOf(index));
const reads = [...new ListReplay(ZERO).append(sealedList).entries()]
  .filter(([, { pcr }]) => pcr === 13)
  .map(([index]) => index);
const [firstRead = 0, secondRead = 0] = reads;
const unexplained: readonly (readonly [string, Uint8Array])[] = [
  ['an entry is dropped', concat(...pieces.toSpliced(60, 1))],
  ['the last entry is dropped', concat(...pieces.slice(0, -1))],
  ['the first entry is dropped', concat(...pieces.slice(1))],
  ['an entry is doubled', concat(...pieces.toSpliced(60, 0, pieceOf(60)))],
  [
    'two entries of PCR 13 are swapped',
    concat(...pieces.with(firstRead, pieceOf(secondRead)).with(secondRead, pieceOf(firstRead))),
  ],
  ['an entry is put into another PCR', concat(...pieces.with(60, withPcr(pieceOf(60), 14)))],
  ['an entry of PCR 13 is put into PCR 10', concat(...pieces.with(firstRead, withPcr(pieceOf(firstRead), 10)))],
  ['an entry is made a violation', concat(...pieces.with(60, withZeroDigest(pieceOf(60))))],
  ['a violation is added', concat(sealedList, listEntry({ violation: true })).subarray(0, sealedList.length - 1)],
  ['nothing is sent', new Uint8Array()],
];
for (const [name, list] of unexplained) {
  test(`no prefix explains the quote when ${name}`, () => {
    assert.throws(() => verifySealed(list), { code: 'ima.prefix.unexplained' });
  });
}

test('the order of two entries of different PCRs is a claim: each PCR alone is proven', () => {
  const between = reads.find((index) => !reads.includes(index - 1)) ?? assert.fail('PCR 13 follows PCR 10 somewhere');
  const swapped = pieces.with(between, pieceOf(between - 1)).with(between - 1, pieceOf(between));
  assert.deepEqual(verifySealed(concat(...swapped)), { from: 0, to: 175 });
});

test('no prefix explains the quote when any byte that the kernel hashed is changed', () => {
  const last = ends.at(-2) ?? 0;
  for (let offset = 0; offset < sealedList.length; offset += offset < last ? 509 : 7) {
    const list = Buffer.from(sealedList);
    list[offset] = (list[offset] ?? 0) ^ 0x01;
    let proven = false;
    try {
      proven = verifySealed(list).to === 175;
    } catch (error) {
      assert.ok(error instanceof LacreError, `offset ${offset}`);
    }
    const index = ends.findIndex((end) => offset < end);
    const within = offset - (ends[index - 1] ?? 0);
    // The logged SHA-1 template digest is not what the SHA-256 bank was extended with: it proves nothing, and is not used.
    assert.equal(proven, within >= 4 && within < 24, `byte ${within} of entry ${index}`);
  }
});

test('a boot that is another, or lacks a PCR, explains nothing', () => {
  for (const pcr of FIXED_PCRS) {
    assert.throws(() => verifySealed(sealedList, new Map([...sealedFixed, [pcr, new Uint8Array(32).fill(1)]])), {
      code: 'ima.prefix.unexplained',
    });
    const without = new Map(sealedFixed);
    without.delete(pcr);
    assert.throws(() => verifySealed(sealedList, without), { code: 'ima.prefix.unexplained' });
  }
});

test("a quote that leaves out one of the list's PCRs proves no prefix", () => {
  const entries: EntryOptions[] = [{ path: 'boot_aggregate' }, { pcr: 13, path: '/etc/x' }];
  const values = foldEntries(entries, new Map([[10, ZERO_SHA256], ...FIXED]));
  const replay = new ListReplay(ZERO);
  replay.append(concat(...entries.map(listEntry)));
  const partial = softQuote(
    values,
    QUOTED_PCRS.filter((pcr) => pcr !== 14),
  );
  assert.throws(() => replay.verify(partial, FIXED), { code: 'ima.prefix.unexplained' });
  assert.deepEqual(replay.verify(softQuote(values), FIXED), { from: 0, to: 2 });
});

test('a quote that nobody verified is refused', () => {
  const replay = new ListReplay(ZERO);
  const forged: VerifiedQuote = Object.create(sealedQuote);
  assert.throws(() => replay.verify(forged, FIXED), TypeError);
});

const entryOf = fc.record({
  pcr: fc.constantFrom(10, 13, 14),
  path: fc.constantFrom('/bin/a', '/bin/b', '/usr/lib/libc.so.6', '/app/main.py'),
  digest: fc.uint8Array({ minLength: 32, maxLength: 32 }),
  template: fc.constantFrom('ima-sig', 'evm-sig'),
  violation: fc.boolean(),
});
const entriesOf = fc
  .array(entryOf, { maxLength: 40 })
  .map((list) =>
    list.map(
      (entry): EntryOptions => (entry.template === 'evm-sig' ? { ...entry, rest: evmSigFields(200_000) } : entry),
    ),
  );

test('however the list is cut into chunks, and whenever quotes come: the same entries, the same proofs', () => {
  fc.assert(
    fc.property(
      entriesOf,
      fc.array(fc.nat(400), { minLength: 1, maxLength: 60 }),
      fc.array(fc.nat(40), { maxLength: 4 }),
      (entries, cuts, quoted) => {
        const whole = concat(...entries.map(listEntry));
        const expected = new ListReplay(ZERO).append(whole);
        const replay = new ListReplay(ZERO);
        const found: Measurement[] = [];
        let offset = 0;
        for (let i = 0; offset < whole.length; i++) {
          const size = Math.max(1, cuts[i % cuts.length] ?? 1);
          found.push(...replay.append(whole.subarray(offset, offset + size)));
          offset = Math.min(whole.length, offset + size);
          assert.equal(replay.byteLength, offset);
        }
        assert.deepEqual(found, expected);
        for (const index of quoted.map((at) => at % (entries.length + 1)).sort((a, b) => a - b)) {
          const values = foldEntries(
            entries.slice(0, index),
            new Map([[10, ZERO_SHA256], [13, ZERO_SHA256], [14, ZERO_SHA256], ...FIXED]),
          );
          const from = replay.verifiedLength;
          assert.deepEqual(replay.verify(softQuote(values), FIXED), { from, to: index });
          assert.equal(replay.verifiedByteLength, expected[index - 1]?.endOffset ?? 0);
        }
      },
    ),
    { numRuns: 30 },
  );
});

test('what is proven stays so: an older quote is no evidence any more', () => {
  const entries: EntryOptions[] = ['/a', '/b', '/c'].map((path) => ({ path }));
  const quotes = [0, 1, 2, 3].map((count) => softQuote(foldEntries(entries.slice(0, count), FIXED)));
  const replay = new ListReplay(ZERO);
  replay.append(concat(...entries.map(listEntry)));
  assert.deepEqual(replay.verify(quotes[2] ?? assert.fail(), FIXED), { from: 0, to: 2 });
  assert.throws(() => replay.verify(quotes[1] ?? assert.fail(), FIXED), { code: 'ima.prefix.unexplained' });
  assert.deepEqual(replay.verify(quotes[2] ?? assert.fail(), FIXED), { from: 2, to: 2 }, 'the same again is fine');
  assert.deepEqual(replay.verify(quotes[3] ?? assert.fail(), FIXED), { from: 2, to: 3 });
  assert.equal(replay.pcrsAt(2), undefined, 'values before the proven part are forgotten');
});

test('a replay that was stored goes on as the one that was not', () => {
  const entries: EntryOptions[] = Array.from({ length: 9 }, (_, i) => ({
    path: `/bin/${i}`,
    pcr: [10, 13, 14][i % 3] ?? 10,
  }));
  const whole = concat(...entries.map(listEntry));
  const first = new ListReplay(ZERO);
  first.append(whole.subarray(0, whole.length - 70));
  first.verify(softQuote(foldEntries(entries.slice(0, 5), FIXED)), FIXED);
  const stored = structuredClone(first.snapshot());
  assert.equal(stored.index, 5);
  const second = ListReplay.resume(stored);
  assert.deepEqual(second.snapshot(), stored);
  assert.deepEqual([second.verifiedLength, second.verifiedByteLength], [5, stored.byteOffset]);
  assert.deepEqual([second.length, second.byteLength], [5, stored.byteOffset]);
  const found = second.append(whole.subarray(stored.byteOffset));
  assert.deepEqual(
    found.map(({ index, path }) => `${index} ${path}`),
    ['5 /bin/5', '6 /bin/6', '7 /bin/7', '8 /bin/8'],
  );
  assert.equal(found.at(-1)?.endOffset, whole.length);
  assert.deepEqual(second.verify(softQuote(foldEntries(entries, FIXED)), FIXED), { from: 5, to: 9 });
});

test('a list begins where the boot log left its PCRs', () => {
  const start = {
    pcr10: new Uint8Array(32).fill(1),
    pcr13: new Uint8Array(32).fill(2),
    pcr14: new Uint8Array(32).fill(3),
  };
  const entries: EntryOptions[] = [{}, { pcr: 14 }];
  const values = foldEntries(entries, new Map([[10, start.pcr10], [13, start.pcr13], [14, start.pcr14], ...FIXED]));
  const replay = new ListReplay(start);
  replay.append(concat(...entries.map(listEntry)));
  assert.deepEqual(replay.verify(softQuote(values), FIXED), { from: 0, to: 2 });
  assert.throws(() => new ListReplay({ ...start, pcr13: new Uint8Array(20) }), TypeError);
});

test('after a malformed entry the replay is over', () => {
  const replay = new ListReplay(ZERO);
  assert.throws(() => replay.append(concat(listEntry(), listEntry({ pcr: 11 }))), { code: 'ima.entry.pcr' });
  assert.throws(() => replay.append(listEntry()), { code: 'ima.entry.pcr' });
  assert.throws(() => replay.verify(softQuote(FIXED), FIXED), { code: 'ima.entry.pcr' });
});

test('in turns: the same result, with a pause after every 4,096 prefixes, and no growth meanwhile', async () => {
  const entries: EntryOptions[] = Array.from({ length: 4096 }, (_, i) => ({ path: `/bin/${i}`, template: 'ima-ng' }));
  const list = concat(...entries.map(listEntry));
  const replay = new ListReplay(ZERO);
  let pauses = 0;
  const pause = async (): Promise<void> => {
    pauses += 1;
  };
  const found: Measurement[][] = [];
  await replay.appendInTurns(list, (more) => void found.push(more), pause);
  assert.equal(found.flat().length, 4096);
  assert.deepEqual([pauses, found.length], [Math.ceil(list.length / 32768) - 1, Math.ceil(list.length / 32768)]);
  pauses = 0;
  const proof = replay.verifyInTurns(softQuote(FIXED), FIXED, pause);
  assert.throws(() => replay.append(new Uint8Array(1)), TypeError);
  assert.throws(() => replay.verify(softQuote(FIXED), FIXED), TypeError);
  await assert.rejects(replay.verifyInTurns(softQuote(FIXED), FIXED, pause), TypeError);
  assert.deepEqual(await proof, { from: 0, to: 0 });
  assert.equal(pauses, 1, 'the 4,097th prefix explains it');
  const missing = softQuote(new Map([...FIXED, [13, new Uint8Array(32).fill(9)]]));
  await assert.rejects(replay.verifyInTurns(missing, FIXED, pause), { code: 'ima.prefix.unexplained' });
  pauses = 0;
  const early = softQuote(foldEntries(entries.slice(0, 1), FIXED));
  assert.deepEqual(await replay.verifyInTurns(early, FIXED, pause), { from: 0, to: 1 });
  assert.equal(pauses, 0, 'the 4,096th prefix explains it');
  assert.deepEqual(replay.append(listEntry()).length, 1, 'and then it may grow again');
});

test('in turns: a piece has at most 32 KiB, and of nothing there is none', async () => {
  const pieces: number[] = [];
  const replay = new ListReplay(ZERO);
  const pause = async () => void pieces.push(replay.byteLength);
  const entry = listEntry({ template: 'ima-buf', digest: sha256(BIG), rest: [BIG], path: 'kexec-cmdline' });
  const take = (found: Measurement[]) => void pieces.push(-found.length);
  await replay.appendInTurns(new Uint8Array(), take, pause);
  assert.deepEqual(pieces, []);
  await replay.appendInTurns(entry.subarray(0, 65_000), take, pause);
  assert.deepEqual(pieces, [-0, 32_768, -0]);
});

test('PCR values can be had from the last proven entry to the end', () => {
  const replay = new ListReplay(ZERO);
  replay.append(concat(listEntry({ path: '/a' }), listEntry({ path: '/b' })));
  assert.deepEqual(
    [-1, 0, 1, 2, 3].map((index) => replay.pcrsAt(index) !== undefined),
    [false, true, true, true, false],
  );
  replay.verify(softQuote(foldEntries([{ path: '/a' }], FIXED)), FIXED);
  assert.deepEqual(replay.pcrsAt(1), replay.snapshot().pcrs);
  assert.deepEqual(replay.pcrsAt(2)?.pcr10, foldEntries([{ path: '/a' }, { path: '/b' }], FIXED).get(10));
});

test('what was appended may change afterwards, whole entries and the start of one', () => {
  const entries: EntryOptions[] = ['/a', '/b', '/c', '/d'].map((path) => ({ path }));
  const list = concat(...entries.map(listEntry));
  const replay = new ListReplay(ZERO);
  for (let start = 0; start < list.length; start += 130) {
    const chunk = list.slice(start, start + 130);
    replay.append(chunk);
    chunk.fill(0);
  }
  assert.deepEqual(replay.verify(softQuote(foldEntries(entries, FIXED)), FIXED), { from: 0, to: 4 });
});

test('of an entry that is announced, what has come is kept, not what is to come', () => {
  const before = process.memoryUsage().arrayBuffers;
  const start = listEntry({ template: 'ima-buf', digest: sha256(BIG), rest: [BIG] }).subarray(0, 100);
  const replays = Array.from({ length: 200 }, () => new ListReplay(ZERO));
  const idle = process.memoryUsage().arrayBuffers - before;
  for (const replay of replays) replay.append(start);
  const kept = process.memoryUsage().arrayBuffers - before - idle;
  assert.ok(kept < 200 * 1024, `${kept}`);
});

test('boot_aggregate is entry 0, of this boot', () => {
  const aggregate = { path: 'boot_aggregate', digest: sealedBoot.bootAggregate() };
  const first = (options: EntryOptions) => new ListReplay(ZERO).append(listEntry(options))[0] ?? assert.fail();
  assert.doesNotThrow(() => checkBootAggregate(first(aggregate), sealedBoot));
  const again = new ListReplay(ZERO).append(concat(listEntry(aggregate), listEntry(aggregate)))[1] ?? assert.fail();
  assert.equal(again.kind, 'boot-aggregate-again');
  const wrong: Measurement[] = [
    again,
    first({ ...aggregate, path: '/boot_aggregate' }),
    first({ ...aggregate, digest: new Uint8Array(32).fill(1) }),
    first({ ...aggregate, digest: ZERO_SHA256 }),
    first({ ...aggregate, violation: true }),
    first({ ...aggregate, pcr: 13 }),
    first({ ...aggregate, algorithm: 'sha1', digest: new Uint8Array(20).fill(1) }),
  ];
  for (const entry of wrong) assert.throws(() => checkBootAggregate(entry, sealedBoot), { code: 'ima.boot-aggregate' });
});

function withPcr(entry: Uint8Array, pcr: number): Uint8Array {
  const copy = Buffer.from(entry);
  copy.writeUInt32LE(pcr, 0);
  return copy;
}

function withZeroDigest(entry: Uint8Array): Uint8Array {
  return Buffer.from(entry).fill(0, 4, 24);
}
