import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { concat, type EntryOptions, evmSigFields, listEntry } from '../../test/simulator/hostile-entry.ts';
import { ZERO_SHA256 } from '../bytes/sha256.ts';
import { ListReplay } from '../ima/list-replay.ts';
import { type KnownFiles, MeasuredFile } from '../ima/measured-file.ts';
import type { Measurement } from '../ima/measurement.ts';
import { Closure } from './closure.ts';
import { HostJudge } from './host-file.ts';
import { Judgement } from './judgement.ts';
import type { HostReference } from './reference/host-reference.ts';
import { digestOf, filesOf, IMAGE } from './scene-fixture.ts';
import { type Sighting, sightingOf } from './sighting.ts';
import { SightingSet } from './sighting-set.ts';

// A server that knows files looks up entries as they come, and never makes text of what is explained. Verdicts are the
// same as where nothing is known, and as where every entry is told apart and judged by its text alone.

const HOST_FILES = filesOf({
  '/sbin/init': 'init',
  '/usr/sbin/runc': 'runc',
  '/usr/bin/x': 'x',
  '/caf\u00e9': 'c',
  '/a_b': 'b',
});
const HOST = { boot: {}, policy: '', nextInit: '/sbin/init', files: HOST_FILES } as unknown as HostReference;
const ZERO = { pcr10: ZERO_SHA256, pcr13: ZERO_SHA256, pcr14: ZERO_SHA256 };
const CLOSURES = [new Closure([IMAGE]), new Closure([IMAGE], [HOST_FILES])];

const path = fc.constantFrom(
  ...[
    '/sbin/init',
    '/usr/bin/x',
    '/app/orders',
    '/bin/sh',
    '/app/config.json',
    '/tmp/evil',
    '/caf\u00e9',
    '/a_b',
    '/a b',
  ],
  ...[
    'memfd:runc_cloned:/proc/self/exe',
    'memfd:x',
    'boot_aggregate',
    'SYSV00000000',
    '/a\\b',
    '/\u0001',
    '/caf\u00e9x',
  ],
);
const entry: fc.Arbitrary<EntryOptions> = fc
  .record({
    path,
    content: fc.constantFrom('init', 'x', 'orders', 'shell', 'config', 'runc', 'c', 'b', 'evil', ''),
    pcr: fc.constantFrom(10, 10, 13, 14),
    template: fc.constantFrom('ima-ng', 'ima-sig', 'ima-ngv2', 'evm-sig'),
    kind: fc.constantFrom('plain', 'plain', 'plain', 'zero', 'sha512', 'sha1', 'violation'),
    uid: fc.constantFrom(0, 200_000, 200_033),
  })
  .map(({ content, kind, uid, ...usual }) => {
    const rest = usual.template === 'evm-sig' ? { rest: evmSigFields(uid) } : {};
    const base = { ...usual, ...rest, digest: digestOf(content) };
    if (kind === 'zero') return { ...base, digest: new Uint8Array(32) };
    if (kind === 'sha512') return { ...base, algorithm: 'sha512', digest: new Uint8Array(64).fill(1) };
    if (kind === 'sha1') return { ...base, algorithm: 'sha1', digest: new Uint8Array(20).fill(1) };
    return kind === 'violation' ? { ...usual, ...rest, violation: true } : base;
  });

function read(list: Uint8Array, known: readonly KnownFiles[]): Measurement[] {
  const replay = new ListReplay(ZERO);
  replay.know(known);
  return replay.append(list);
}

/** What an entry says, without the object that says it. */
function said({
  path: name,
  fileDigest,
  digestState,
  kind,
  pcr,
  template,
  index,
  iuid,
  igid,
  imode,
  buffer,
}: Measurement) {
  return { path: name, fileDigest, digestState, kind, pcr, template, index, iuid, igid, imode, buffer };
}

function bySight(one: Measurement): Sighting {
  return sightingOf(one);
}

function byText(one: Measurement): Sighting {
  const { fileDigest, ...rest } = said(one);
  return { ...rest, algorithm: fileDigest?.algorithm ?? '', hex: fileDigest?.hex ?? '' };
}

/** Faults of entries by judges, and what was executed: all that verdicts are made of. */
function judged(entries: readonly Measurement[], sighting: (one: Measurement) => Sighting, byOwner: boolean) {
  const set = new SightingSet(20, byOwner);
  const host = new HostJudge(HOST);
  const judges = [
    (one: Sighting) => host.judge(one),
    ...CLOSURES.map((closure) => (one: Sighting) => closure.judge(one)),
  ];
  for (const one of entries) if (!one.violation) set.add(sighting(one));
  const faults = judges.map((judge) => {
    const { executed, read: reads } = new Judgement(set, judge).update();
    return [executed, reads].map((list) => [list.count, list.fatalCount, list.findings('x')]);
  });
  const ran = ['/app/orders', '/bin/sh', '/caf\u00e9', '/a_b'].map((name) =>
    set.wasExecuted(
      [...(IMAGE.files.get(name) ?? HOST_FILES.get(name) ?? [])].map((hex) => MeasuredFile.ofSha256(name, hex)),
    ),
  );
  return {
    faults,
    ran,
    dropped: set.dropped,
    list: set.list.map(({ index, path: name, hex }) => ({ index, name, hex })),
  };
}

test('known files change nothing of what entries say, nor of any verdict', () => {
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 60 }), fc.boolean(), fc.boolean(), (entries, byOwner, hostOnly) => {
      const list = concat(...entries.map(listEntry));
      const known = hostOnly ? [HOST_FILES.index] : [HOST_FILES.index, IMAGE.files.index];
      const [with_, without] = [read(list, known), read(list, [])];
      assert.deepEqual(with_.map(said), without.map(said));
      const expected = judged(without, byText, byOwner);
      assert.deepEqual(judged(without, bySight, byOwner), expected);
      assert.deepEqual(judged(with_, bySight, byOwner), expected);
    }),
    { numRuns: 400 },
  );
});

test('a known file is one object for the lists of all nodes', () => {
  const list = listEntry({ template: 'ima-ng', path: '/usr/bin/x', digest: digestOf('x'), rest: [] });
  const [one, other] = [read(list, [HOST_FILES.index]), read(list, [HOST_FILES.index])].map(
    ([first]) => first && bySight(first).file,
  );
  assert.ok(one !== undefined && one === other);
  assert.equal(one.home, HOST_FILES.index);
});
