import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FindingCode } from './finding-code.ts';
import { type Fault, FaultList, Judgement } from './judgement.ts';
import { digestHex } from './scene-fixture.ts';
import { type Sighting, sightingOf } from './sighting.ts';
import { SightingSet } from './sighting-set.ts';

function seen(index: number, pcr = 10): Sighting {
  const fileDigest = { algorithm: 'sha256', hex: digestHex(String(index)) };
  const usual = { template: 'evm-sig', kind: 'file', digestState: 'usable', violation: false, iuid: 0 } as const;
  return sightingOf({ ...usual, index, pcr, path: `/f${index}`, fileDigest });
}

const fault = (index: number, more: Partial<Fault> = {}): Fault => ({
  code: 'appraisal.file.unknown',
  detail: 'unknown',
  sighting: seen(index),
  expected: [],
  ...more,
});

function listOf(count: number, more: (index: number) => Partial<Fault> = () => ({})): FaultList {
  const list = new FaultList();
  for (let index = 0; index < count; index++) list.add(fault(index, more(index)));
  return list;
}

test('a fault becomes a finding with the facts of its sighting', () => {
  const list = new FaultList();
  assert.deepEqual(list.findings('c'), []);
  list.add(fault(3, { code: 'appraisal.file.unexpected', expected: ['ab'] }));
  list.add(fault(4, { sighting: { ...seen(4), hex: '' }, told: true }));
  const shared = { link: 'appraisal', subject: 'c', detail: 'unknown' };
  const [code, codeOfRest] = ['appraisal.file.unexpected', 'appraisal.file.unknown'];
  assert.deepEqual(list.findings('c'), [
    { ...shared, code, path: '/f3', expectedSha256: ['ab'], seenSha256: digestHex('3'), logIndex: 3, fatal: true },
    { ...shared, code: codeOfRest, path: '/f4', expectedSha256: [], logIndex: 4, fatal: false },
  ]);
  assert.deepEqual([list.count, list.fatalCount, list.kept.length], [2, 1, 2]);
  const told = list.findings('c', { told: true, code: 'appraisal.shared.failed' });
  assert.deepEqual(
    told.map(({ code: one, fatal }) => [one, fatal]),
    [
      ['appraisal.shared.failed', false],
      ['appraisal.shared.failed', false],
    ],
  );
});

test('of more than 256 faults the first ones are kept, and the number of the others', () => {
  const whole = listOf(256);
  assert.deepEqual([whole.findings('c').length, whole.kept.length, whole.count], [256, 256, 256]);
  const one = listOf(257);
  const findings = one.findings('c');
  assert.deepEqual([findings.length, one.kept.length, one.count, one.fatalCount], [257, 256, 257, 257]);
  const last = { link: 'appraisal', code: 'appraisal.file.unknown', subject: 'c', expectedSha256: [], fatal: true };
  assert.deepEqual(findings.at(-1), { ...last, detail: '1 more entries of the list are bad' });
});

test('the rest is of the code of the last one kept, or of the code that is asked for', () => {
  const mixed = listOf(257, (index) => (index === 255 ? { code: 'appraisal.file.unexpected' } : {}));
  assert.equal(mixed.findings('c').at(-1)?.code, 'appraisal.file.unexpected');
  const code: FindingCode = 'appraisal.file.unattributed';
  assert.equal(mixed.findings('c', { code }).at(-1)?.code, code);
});

test('the rest fails nothing where all are told, or shall be', () => {
  const fatal = (list: FaultList, told?: boolean) =>
    list.findings('c', told === undefined ? {} : { told }).at(-1)?.fatal;
  const all = listOf(300, () => ({ told: true }));
  const some = listOf(300, (index) => ({ told: index > 0 }));
  const rest = listOf(300, (index) => ({ told: index < 299 }));
  assert.deepEqual([fatal(all), fatal(some), fatal(rest), fatal(listOf(300))], [false, true, true, true]);
  assert.deepEqual([fatal(listOf(300), true), fatal(some, true), fatal(some, false)], [false, false, true]);
});

test('sightings are judged once each, in order, and those that were read apart', () => {
  const set = new SightingSet(10);
  const asked: number[] = [];
  const judgement = new Judgement(set, (sighting) => {
    asked.push(sighting.index);
    return sighting.index % 2 === 0 ? undefined : fault(sighting.index, { sighting });
  });
  const faults = () => {
    const { executed, read } = judgement.update();
    return [executed, read].map(({ kept }) => kept.map(({ sighting }) => sighting.index));
  };
  assert.deepEqual(faults(), [[], []]);
  for (const [index, pcr] of [10, 10, 13, 13, 14, 14, 13, 13].entries()) {
    set.add(seen(index, pcr));
    if (index === 1) assert.deepEqual(faults(), [[1], []]);
  }
  assert.deepEqual(faults(), [
    [1, 5],
    [3, 7],
  ]);
  assert.deepEqual(faults(), [
    [1, 5],
    [3, 7],
  ]);
  assert.deepEqual(asked, [0, 1, 2, 3, 4, 5, 6, 7]);
});
