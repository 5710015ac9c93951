import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { EpochAppraisal, MAX_SIGHTINGS } from './epoch-appraisal.ts';
import { digestHex, filesOf, IMAGE } from './scene-fixture.ts';
import type { Measured } from './sighting.ts';

const RANGE = { base: 200_000, length: 1024 };
const DOMAIN = { kind: 'domain', id: 'range:200000+1024' } as const;

function measured(index: number, path: string, content: string, iuid: number, more: Partial<Measured> = {}): Measured {
  const fileDigest = { algorithm: 'sha256', hex: digestHex(content) };
  return {
    index,
    pcr: 10,
    template: 'evm-sig',
    kind: 'file',
    path,
    fileDigest,
    digestState: 'usable',
    violation: false,
    iuid,
    ...more,
  };
}

const paths = ['/app/orders', '/bin/sh', '/tmp/x', '/tmp/y'];
const step = fc.record({
  path: fc.constantFrom(...paths),
  content: fc.constantFrom('orders', 'shell', 'evil'),
  iuid: fc.constantFrom(0, 200_000, 200_033, 201_024),
  pcr: fc.constantFrom(10, 13),
});

test('judging as entries come finds the same as judging at the end, whenever the container is told', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), fc.nat(40), (steps, told) => {
      const [one, other] = [new EpochAppraisal(), new EpochAppraisal()];
      const inRange = (iuid: number) => iuid >= RANGE.base && iuid < RANGE.base + RANGE.length;
      const bad = (epoch: EpochAppraisal) => {
        const closure = epoch.closure([IMAGE]);
        const { executed, read } = epoch.domain(DOMAIN.id).judged(closure, (sighting) => closure.judge(sighting));
        const faults = [...executed.kept, ...read.kept].map(({ code, sighting }) => `${sighting.index} ${code}`);
        return { faults: faults.sort(), stray: epoch.unattributed.sightings.list.map(({ index }) => index) };
      };
      for (const [index, { path, content, iuid, pcr }] of steps.entries()) {
        if (index === told) one.adopt(DOMAIN.id, RANGE);
        const entry = measured(index, path, content, iuid, { pcr });
        one.feed(entry, inRange(iuid) && index >= told ? DOMAIN : { kind: 'unattributed' });
        other.feed(entry, inRange(iuid) ? DOMAIN : { kind: 'unattributed' });
        bad(one); // between all entries: what is judged early must not stick
      }
      one.adopt(DOMAIN.id, RANGE);
      assert.deepEqual(bad(one), bad(other));
      assert.deepEqual(fileSet(one), fileSet(other));
    }),
  );
});

/** The files that a domain was seen with. */
function fileSet(epoch: EpochAppraisal): string[] {
  return epoch
    .domain(DOMAIN.id)
    .sightings.list.map(({ path, hex, pcr }) => `${pcr} ${hex} ${path}`)
    .sort();
}

test('the same file again is one sighting; another PCR, content or path is another', () => {
  const epoch = new EpochAppraisal();
  const entries = [
    measured(0, '/a', '1', 200_000),
    measured(1, '/a', '1', 200_033),
    measured(2, '/a', '1', 200_000, { pcr: 13 }),
    measured(3, '/a', '2', 200_000),
    measured(4, '/b', '1', 200_000),
  ];
  for (const entry of entries) epoch.feed(entry, DOMAIN);
  assert.deepEqual(
    epoch.domain(DOMAIN.id).sightings.list.map(({ index }) => index),
    [0, 2, 3, 4],
  );
  assert.equal(epoch.entries, 5);
});

test('what is said to be usable and has no digest is unknown', () => {
  const epoch = new EpochAppraisal();
  epoch.feed(measured(0, '/a', '', 0, { fileDigest: undefined }), { kind: 'shared' });
  assert.deepEqual(
    epoch.shared.sightings.list.map(({ digestState, hex, algorithm }) => [digestState, hex, algorithm]),
    [['zero', '', '']],
  );
});

test('violations belong to nobody, and only their number grows', () => {
  const epoch = new EpochAppraisal();
  for (let index = 0; index < 1000; index++)
    epoch.feed(measured(index, `/v${index}`, '', 0, { violation: true, digestState: 'zero', fileDigest: undefined }), {
      kind: 'host',
    });
  assert.equal(epoch.violations.count, 1000);
  assert.equal(epoch.violations.first.length, 64);
  assert.equal(epoch.host.sightings.list.length, 0);
});

test('entries go to their owner, and the first that is not the host’s is remembered', () => {
  const epoch = new EpochAppraisal();
  assert.equal(epoch.firstForeignIndex, Number.POSITIVE_INFINITY);
  const owners = [{ kind: 'host' }, { kind: 'shared' }, { kind: 'unattributed' }, DOMAIN, { kind: 'host' }] as const;
  for (const [index, owner] of owners.entries()) epoch.feed(measured(index, `/${index}`, 'x', 0), owner);
  const states = [epoch.host, epoch.shared, epoch.unattributed, epoch.domain(DOMAIN.id), epoch.domain('range:1+1')];
  assert.deepEqual(
    states.map(({ sightings }) => sightings.list.map(({ path }) => path)),
    [['/0', '/4'], ['/1'], ['/2'], ['/3'], []],
  );
  assert.equal(epoch.firstForeignIndex, 1);
});

test('of closures that nobody asks for any more at most 4096 are kept', () => {
  const epoch = new EpochAppraisal();
  const first = epoch.closure([IMAGE]);
  for (let index = 1; index < 4096; index++) epoch.closure([IMAGE], [], String(index));
  assert.equal(epoch.closure([IMAGE]), first);
  epoch.closure([IMAGE], [], 'one more');
  assert.notEqual(epoch.closure([IMAGE]), first);
});

test('an entry that says a usable digest and has none counts as without one', () => {
  const epoch = new EpochAppraisal();
  epoch.feed(measured(0, '/a', 'x', 0, { fileDigest: undefined }), DOMAIN);
  const [seen] = epoch.domain(DOMAIN.id).sightings.list;
  assert.deepEqual([seen?.digestState, seen?.hex, seen?.algorithm], ['zero', '', '']);
});

test('closures are the same object for the same reference values, and another for others', () => {
  const epoch = new EpochAppraisal();
  const files = filesOf({ '/a': '1' });
  assert.equal(epoch.closure([IMAGE]), epoch.closure([IMAGE]));
  assert.notEqual(epoch.closure([IMAGE]), epoch.closure([{ ...IMAGE }]));
  assert.notEqual(epoch.closure([IMAGE], [files], 'stray'), epoch.closure([IMAGE]));
  assert.deepEqual(epoch.closure([IMAGE], [files]).expected('/a'), new Set([digestHex('1')]));
  const both = epoch.closure([
    IMAGE,
    { ...IMAGE, manifestDigest: `sha256:${'7'.repeat(64)}`, files: filesOf({ '/bin/sh': 'other' }) },
  ]);
  assert.deepEqual(both.expected('/bin/sh'), new Set([digestHex('shell'), digestHex('other')]));
});

test('a container that floods its range costs memory up to a bound, and only what is new', () => {
  const epoch = new EpochAppraisal();
  const count = MAX_SIGHTINGS.domain + 1000;
  for (let index = 0; index < count; index++)
    epoch.feed(
      measured(index, `/tmp/${index}`, 'x', 200_000, { fileDigest: { algorithm: 'sha256', hex: 'ab'.repeat(32) } }),
      DOMAIN,
    );
  const { sightings } = epoch.domain(DOMAIN.id);
  assert.equal(sightings.list.length, MAX_SIGHTINGS.domain);
  assert.equal(sightings.dropped, count - MAX_SIGHTINGS.domain);
  const closure = epoch.closure([IMAGE]);
  let asked = 0;
  const judge = () =>
    epoch.domain(DOMAIN.id).judged(closure, (sighting) => {
      asked++;
      return closure.judge(sighting);
    });
  assert.equal(judge().executed.count, MAX_SIGHTINGS.domain);
  assert.equal(judge().executed.count, MAX_SIGHTINGS.domain);
  assert.equal(asked, MAX_SIGHTINGS.domain, 'judging again asks for nothing');
});

test('so many different files are kept of an owner', () => {
  assert.deepEqual(MAX_SIGHTINGS, { domain: 50_000, host: 100_000, unattributed: 20_000 });
});

test('an owner is judged once by each judge, and anew when entries of it found another owner', () => {
  const epoch = new EpochAppraisal();
  for (const [index, iuid] of [0, 200_000, 201_023, 201_024].entries())
    epoch.feed(measured(index, '/tmp/x', 'evil', iuid), { kind: 'unattributed' });
  const closure = epoch.closure([IMAGE]);
  const judge = () => epoch.unattributed.judged(closure, (sighting) => closure.judge(sighting));
  const faults = () => judge().executed.kept.map(({ sighting }) => sighting.index);
  const first = judge();
  assert.equal(judge(), first);
  assert.notEqual(
    epoch.unattributed.judged({}, () => undefined),
    first,
  );
  assert.deepEqual(faults(), [0, 1, 2, 3]);
  epoch.adopt(DOMAIN.id, { base: 300_000, length: 1024 });
  assert.equal(judge(), first, 'nothing was taken out');
  epoch.adopt(DOMAIN.id, RANGE);
  assert.deepEqual(faults(), [0, 3]);
  assert.deepEqual(
    epoch.domain(DOMAIN.id).sightings.list.map(({ index }) => index),
    [1],
  );
});

test('closures of other images, and of other files under another name, are kept beside each other', () => {
  const epoch = new EpochAppraisal();
  const other = { ...IMAGE, manifestDigest: `sha256:${'7'.repeat(64)}` };
  const files = filesOf({ '/a': '1' });
  const make = () => [
    epoch.closure([IMAGE]),
    epoch.closure([other]),
    epoch.closure([IMAGE, other]),
    epoch.closure([]),
    epoch.closure([IMAGE], [files], 'stray'),
  ];
  const made = make();
  assert.equal(new Set(made).size, 5);
  for (const [at, closure] of make().entries()) assert.equal(closure, made[at]);
});
