import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { bootEvents, replayEvents, writeEventLog } from '../../test/simulator/event-log.ts';
import { toHex } from '../bytes/hex.ts';
import { sha256, ZERO_SHA256 } from '../bytes/sha256.ts';
import { type BootEvent, parseEventLog } from './event-log.ts';
import { bankOf, ReplayedBoot, replayEventLog } from './replayed-boot.ts';

interface BootVector {
  note: string;
  events: number;
  pcrsHex: Record<string, string>;
  quotedBy?: string;
}

const folder = new URL('../../vectors/', import.meta.url);
const load = <T>(path: string): T => JSON.parse(readFileSync(new URL(path, folder), 'utf8'));
const replayFile = (path: string) => replayEventLog(parseEventLog(readFileSync(new URL(path, folder))));

for (const file of readdirSync(new URL('boot/', folder)).filter((name) => name.endsWith('.json'))) {
  const vector = load<BootVector>(`boot/${file}`);
  test(`${file}: ${vector.note}`, () => {
    const boot = replayFile(`boot/${file.replace('.json', '.log')}`);
    assert.equal(boot.events.length, vector.events);
    for (const [pcr, hex] of Object.entries(vector.pcrsHex))
      assert.equal(toHex(boot.pcr(Number(pcr))), hex, `PCR ${pcr}`);
    if (vector.quotedBy === undefined) return;
    const quote = load<{ pcrs: number[]; pcrValuesHex: string[] }>(vector.quotedBy);
    for (const pcr of [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]) {
      assert.equal(toHex(boot.pcr(pcr)), quote.pcrValuesHex[quote.pcrs.indexOf(pcr)], `quoted PCR ${pcr}`);
    }
  });
}

function event(
  pcr: number,
  type: number,
  digest: Uint8Array | undefined,
  data = new Uint8Array(),
  index = 0,
): BootEvent {
  return { index, pcr, type, typeName: '', digests: digest === undefined ? {} : { sha256: digest }, data };
}

const one = new Uint8Array(32).fill(1);
const locality = (value: number, extra: number[] = []) =>
  event(0, 3, ZERO_SHA256, new Uint8Array([...Buffer.from('StartupLocality\0'), value, ...extra]));

test('PCR 0 starts at the stated locality, and EV_NO_ACTION extends nothing', () => {
  for (const value of [0, 3, 4]) {
    const start = new Uint8Array(32);
    start[31] = value;
    const boot = replayEventLog([locality(value), event(0, 3, one), event(0, 8, one), event(1, 8, one)]);
    assert.deepEqual(boot.pcr(0), sha256(start, one), `locality ${value}`);
    assert.deepEqual(boot.pcr(1), sha256(ZERO_SHA256, one));
  }
});

test('a locality that cannot be, is stated twice, or after PCR 0 was extended is refused', () => {
  const refused: BootEvent[][] = [
    [locality(1)],
    [locality(3, [0])],
    [event(0, 3, ZERO_SHA256, Buffer.from('StartupLocality\0'))],
    [locality(3), locality(3)],
    [event(0, 8, one), locality(3)],
  ];
  for (const events of refused) assert.throws(() => replayEventLog(events), { code: 'boot.log.malformed' });
  assert.doesNotThrow(() => replayEventLog([event(1, 8, one), locality(3)]), 'other PCRs may come first');
});

test('the bank of a boot is SHA-256 where every event has it, else SHA-384', () => {
  const both = { sha256: one, sha384: new Uint8Array(48).fill(1) };
  const wide = (digests: BootEvent['digests']): BootEvent => ({ ...event(0, 8, one), digests });
  assert.equal(bankOf([wide(both), wide(both)]), 'sha256');
  assert.equal(bankOf([wide({ sha384: both.sha384 }), event(0, 3, undefined)]), 'sha384');
  assert.equal(bankOf([wide(both), wide({ sha384: both.sha384 })]), 'sha384', 'one event without SHA-256');
  assert.equal(bankOf([wide(both), wide({ sha256: one })]), 'sha256', 'one event without SHA-384');
  assert.equal(bankOf([wide({ sha1: new Uint8Array(20) })]), 'sha256', 'neither: the replay refuses it');
  assert.throws(() => replayEventLog([wide({ sha1: new Uint8Array(20) })]), { code: 'boot.log.bank' });
});

test('an event without SHA-256 digest is refused, unless it extends nothing', () => {
  assert.throws(() => replayEventLog([event(0, 8, undefined, undefined, 5)]), {
    code: 'boot.log.bank',
    details: { index: 5, bank: 'sha256' },
  });
  assert.deepEqual(replayEventLog([event(0, 3, undefined)]).pcr(0), ZERO_SHA256);
});

test('boot_aggregate, event digests and PCRs agree with an independent replay', () => {
  const system = { kernelSha256: one, initrdSha256: new Uint8Array(32).fill(2), commandLine: 'quiet', firmware: 'X' };
  const events = bootEvents(system);
  const boot = replayEventLog(parseEventLog(writeEventLog(events)));
  const expected = replayEvents(events);
  const numbers = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14];
  assert.deepEqual(boot.pcrs(numbers), expected);
  assert.deepEqual(boot.bootAggregate(), sha256(...numbers.slice(0, 10).map((pcr) => expected.get(pcr) ?? one)));
  assert.deepEqual(boot.eventDigests(9), [sha256(Buffer.from('quiet\0', 'utf16le')), system.initrdSha256]);
});

test('a dropped, doubled or swapped event leads to other PCRs', () => {
  const events = parseEventLog(readFileSync(new URL('boot/ovmf-sealed.log', folder)));
  const aggregate = toHex(replayEventLog(events).bootAggregate());
  for (let i = 1; i < events.length; i++) {
    assert.notEqual(toHex(replayEventLog(events.toSpliced(i, 1)).bootAggregate()), aggregate, `without event ${i}`);
    const doubled = events.flatMap((entry, index) => (index === i ? [entry, entry] : [entry]));
    assert.notEqual(toHex(replayEventLog(doubled).bootAggregate()), aggregate, `event ${i} twice`);
  }
  const [a, b] = [events.findIndex(({ pcr }) => pcr === 9), events.findLastIndex(({ pcr }) => pcr === 9)];
  const swapped = events.with(a, events[b] ?? locality(0)).with(b, events[a] ?? locality(0));
  assert.notEqual(toHex(replayEventLog(swapped).bootAggregate()), aggregate);
});

test('values are copies, PCRs from 16 on have none, and nobody else makes a replayed boot', () => {
  const boot = replayFile('boot/ovmf-sealed.log');
  boot.pcr(0).fill(0);
  assert.notDeepEqual(boot.pcr(0), ZERO_SHA256);
  assert.throws(() => boot.pcr(16), RangeError);
  assert.throws(() => Reflect.construct(ReplayedBoot, [Symbol('other'), 'sha256', [], []]), TypeError);
  assert.equal(ReplayedBoot.isReplayed({ ...boot }), false);
  assert.equal(ReplayedBoot.isReplayed(boot), true);
});

test('what extends nothing is not among the events of a PCR', () => {
  const boot = replayEventLog([event(4, 3, ZERO_SHA256), event(4, 4, one, undefined, 1), event(5, 4, one)]);
  assert.deepEqual(
    boot.extended(4).map(({ index }) => index),
    [1],
  );
  assert.deepEqual(boot.eventDigests(4), [one]);
});

test('an event of a PCR that software can reset changes none of the others', () => {
  const boot = replayEventLog([event(16, 4, one), event(23, 4, one)]);
  for (let pcr = 0; pcr < 16; pcr++) assert.deepEqual(boot.pcr(pcr), ZERO_SHA256);
});
