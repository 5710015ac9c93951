import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Domain } from '../container/domain.ts';
import type { ContainerEvidence } from './container-evidence.ts';
import { entrypointFindings, judgeFiles } from './container-file.ts';
import { EpochAppraisal, MAX_SIGHTINGS } from './epoch-appraisal.ts';
import type { HostReference } from './reference/host-reference.ts';
import type { ImageReference } from './reference/image-reference.ts';
import { claimContainer } from './sample-fixture.ts';
import { digestHex, filesOf, IMAGE } from './scene-fixture.ts';
import type { EntryOwner, Measured } from './sighting.ts';

const imageOf = (digit: string, files: Record<string, string>): ImageReference => ({
  ...IMAGE,
  manifestDigest: `sha256:${digit.repeat(64)}`,
  files: filesOf(files),
});
const OWN = imageOf('1', { '/app/orders': 'orders', '/bin/sh': 'shell' });
const OTHER = imageOf('2', { '/bin/other': 'other' });
const SHARED = imageOf('3', { '/bin/shared': 'shared' });
const HOST = { files: filesOf({ '/run/podman-init': 'catatonit' }) } as unknown as HostReference;
const CONTAINER = claimContainer('orders', { rootReadOnly: true });

function domainOf(id: string, attribution: Domain['attribution'], image: ImageReference): Domain {
  const range = id === 'shared' ? undefined : { base: 200_000, length: 1024 };
  const manifestDigests = new Set([image.manifestDigest, `sha256:${'f'.repeat(64)}`]);
  return { id, range, containers: [], manifestDigests, attribution, reasons: [], closed: true };
}

const OF_OWN = { kind: 'domain', id: 'own' } as const;
const OF_OTHER = { kind: 'domain', id: 'other' } as const;
const OF_SHARED = { kind: 'shared' } as const;
const OF_NOBODY = { kind: 'unattributed' } as const;

interface Setting {
  readonly attribution?: Domain['attribution'];
  readonly closed?: boolean;
  /** Of the other domain. */
  readonly other?: Domain['attribution'];
  readonly rangeUse?: 'fresh' | 'reused';
  readonly host?: HostReference | undefined;
  readonly container?: typeof CONTAINER;
  /** Without a range of its own. */
  readonly rangeless?: boolean;
}

type Entry = readonly [owner: EntryOwner, path: string, content: string, pcr?: number];

function evidenceOf(entries: readonly Entry[], setting: Setting = {}): ContainerEvidence {
  const { attribution = 'exact', closed = true, other = 'exact', rangeUse = 'fresh', container = CONTAINER } = setting;
  const epoch = new EpochAppraisal();
  for (const [index, [owner, path, content, pcr = 10]] of entries.entries())
    epoch.feed(measured(index, path, content, pcr), owner);
  const shared = domainOf('shared', 'shared', SHARED);
  const own = setting.rangeless ? domainOf('shared', 'shared', OWN) : domainOf('own', attribution, OWN);
  const domains = () => [own, domainOf('other', other, OTHER), ...(setting.rangeless ? [] : [shared])];
  const images = (digest: string) => [OWN, OTHER, SHARED].find(({ manifestDigest }) => manifestDigest === digest);
  const host = 'host' in setting ? setting.host : HOST;
  const standing = { attribution, closed, reasons: [], rangeUse };
  return { container, standing, domain: own, domains, epoch, images, host } as unknown as ContainerEvidence;
}

function measured(index: number, path: string, content: string, pcr = 10): Measured {
  const fileDigest = { algorithm: 'sha256', hex: digestHex(content) };
  const usual = { template: 'evm-sig', kind: 'file', digestState: 'usable', violation: false, iuid: 200_000 } as const;
  return { ...usual, index, pcr, path, fileDigest };
}

function found(entries: readonly Entry[], setting: Setting = {}): string[] {
  return judgeFiles(evidenceOf(entries, setting)).findings.map(({ code, fatal, path, subject }) => {
    assert.equal(subject, CONTAINER.claim.id);
    return `${fatal ? '! ' : ''}${code}${path === undefined ? '' : ` ${path}`}`;
  });
}

const OPEN: Setting = { closed: false };
const ALIKE: Setting = { attribution: 'shared', other: 'shared' };
const WRITABLE: Setting = { container: claimContainer('orders', { rootReadOnly: false }) };

const CASES: readonly [what: string, entries: Entry[], setting: Setting, expected: string[]][] = [
  ['its own files', [[OF_OWN, '/bin/sh', 'shell']], {}, []],
  ['a file of nobody in its range', [[OF_OWN, '/tmp/x', 'x']], {}, ['! appraisal.file.unknown /tmp/x']],
  ['the same where it was read', [[OF_OWN, '/tmp/x', 'x', 13]], {}, ['! appraisal.file.unknown /tmp/x']],
  ['the same on a writable root', [[OF_OWN, '/tmp/x', 'x', 13]], WRITABLE, ['appraisal.file.unknown /tmp/x']],
  ['a file of another image', [[OF_OWN, '/bin/other', 'other']], ALIKE, ['! appraisal.file.unknown /bin/other']],
  ["another domain's bad file", [[OF_OTHER, '/tmp/x', 'x']], {}, []],
  ['the same of a domain that it can be told from', [[OF_OTHER, '/tmp/x', 'x']], { attribution: 'shared' }, []],
  ['the same of one that it cannot', [[OF_OTHER, '/tmp/x', 'x']], ALIKE, ['! appraisal.shared.failed /tmp/x']],
  ["another domain's own file", [[OF_OTHER, '/bin/other', 'other']], ALIKE, []],
  ['what another domain read', [[OF_OTHER, '/tmp/x', 'x', 13]], ALIKE, []],
  ['a bad file of the containers without a range', [[OF_SHARED, '/tmp/x', 'x']], {}, []],
  ['the same where it is one of them', [[OF_SHARED, '/tmp/x', 'x']], ALIKE, ['! appraisal.shared.failed /tmp/x']],
  ['what they read', [[OF_SHARED, '/tmp/x', 'x', 13]], ALIKE, []],
  ["nobody's bad file, of a closed container", [[OF_NOBODY, '/tmp/x', 'x']], {}, []],
  ["nobody's bad file, of an open one", [[OF_NOBODY, '/tmp/x', 'x']], OPEN, ['! appraisal.file.unattributed /tmp/x']],
  ['the same where it was read', [[OF_NOBODY, '/tmp/x', 'x', 13]], OPEN, ['appraisal.file.unattributed /tmp/x']],
  [
    "nobody's bad file, of a closed container like others",
    [[OF_NOBODY, '/tmp/x', 'x']],
    ALIKE,
    ['! appraisal.file.unattributed /tmp/x'],
  ],
  [
    "nobody's files: the host's, its own, of containers without a range",
    [
      [OF_NOBODY, '/run/podman-init', 'catatonit'],
      [OF_NOBODY, '/bin/sh', 'shell'],
      [OF_NOBODY, '/bin/shared', 'shared'],
    ],
    OPEN,
    [],
  ],
  [
    "nobody's file of a domain apart",
    [[OF_NOBODY, '/bin/other', 'other']],
    OPEN,
    ['! appraisal.file.unattributed /bin/other'],
  ],
  [
    "nobody's file of a domain apart, of one like others",
    [[OF_NOBODY, '/bin/other', 'other']],
    { attribution: 'shared' },
    ['! appraisal.file.unattributed /bin/other'],
  ],
  [
    "nobody's file of a domain like others, of one apart",
    [[OF_NOBODY, '/bin/other', 'other']],
    { ...OPEN, other: 'shared' },
    ['! appraisal.file.unattributed /bin/other'],
  ],
  ["nobody's file of a domain alike", [[OF_NOBODY, '/bin/other', 'other']], ALIKE, []],
  [
    "nobody's file of the host, where none is known",
    [[OF_NOBODY, '/run/podman-init', 'catatonit']],
    { ...OPEN, host: undefined },
    ['! appraisal.file.unattributed /run/podman-init'],
  ],
];

for (const [what, entries, setting, expected] of CASES) {
  test(`files: ${what}`, () => assert.deepEqual(found(entries, setting), expected));
}

test('a domain whose reads are all explained says so', () => {
  const explained = (entries: readonly Entry[], setting: Setting = {}) =>
    judgeFiles(evidenceOf(entries, setting)).readsExplained;
  assert.equal(explained([[OF_OWN, '/bin/sh', 'shell', 13]]), true);
  assert.equal(explained([[OF_OWN, '/tmp/x', 'x']]), true);
  for (const setting of [{}, WRITABLE]) assert.equal(explained([[OF_OWN, '/tmp/x', 'x', 13]], setting), false);
});

test('at most 64 findings tell of other domains', () => {
  const entries = Array.from({ length: 65 }, (_, n): Entry => [OF_OTHER, `/tmp/${n}`, 'x']);
  assert.deepEqual(
    found(entries, ALIKE),
    entries.slice(0, 64).map(([, path]) => `! appraisal.shared.failed ${path}`),
  );
});

/** More entries of an owner than are kept, every one explained. */
function flooded(owner: EntryOwner, count: number, setting: Setting): ContainerEvidence {
  const evidence = evidenceOf([], setting);
  for (let index = 0; index < count; index++) evidence.epoch.feed(measured(index, `/e${index}`, '', 13), owner);
  return evidence;
}

test('more different files than can be judged fail whoever they may be of', () => {
  const codes = (owner: EntryOwner, count: number, setting: Setting) => {
    const { findings, readsExplained } = judgeFiles(flooded(owner, count, setting));
    return [...findings.map(({ code, fatal }) => `${fatal ? '! ' : ''}${code}`), readsExplained];
  };
  const { domain, unattributed } = MAX_SIGHTINGS;
  assert.deepEqual(codes(OF_OWN, domain, {}), [true]);
  assert.deepEqual(codes(OF_OWN, domain + 1, {}), ['! ima.list.oversized', false]);
  assert.deepEqual(codes(OF_NOBODY, unattributed + 1, OPEN), ['! ima.list.oversized', true]);
  assert.deepEqual(codes(OF_NOBODY, unattributed + 1, {}), [true]);
  for (const owner of [OF_OTHER, OF_SHARED]) {
    assert.deepEqual(codes(owner, domain + 1, ALIKE), ['! ima.list.oversized', true], owner.kind);
    assert.deepEqual(codes(owner, domain + 1, {}), [true], owner.kind);
  }
});

const RAN = '/app/orders';
const missing = (entries: readonly Entry[], setting: Setting = {}, image: ImageReference = OWN) =>
  entrypointFindings(evidenceOf(entries, setting), image);

test('the program of the image was executed in the range, or by one of those without a range', () => {
  assert.deepEqual(missing([[OF_OWN, RAN, 'orders']]), []);
  for (const owner of [OF_SHARED, OF_NOBODY]) {
    assert.deepEqual(missing([[owner, RAN, 'orders']], { rangeless: true }), [], owner.kind);
    assert.equal(missing([[owner, RAN, 'orders']]).length, 1, owner.kind);
  }
  const wrong: readonly [Entry, Setting?][] = [
    [[OF_OWN, RAN, 'evil']],
    [[OF_OWN, RAN, 'orders', 13]],
    [[OF_OWN, '/bin/orders', 'orders']],
    [[OF_OTHER, RAN, 'orders']],
    [[OF_OWN, RAN, 'orders'], { rangeless: true }],
  ];
  for (const [entry, setting] of wrong) {
    const [finding, ...more] = missing([entry], setting);
    assert.deepEqual([finding?.code, finding?.fatal, more], ['appraisal.entrypoint.missing', true, []]);
    assert.deepEqual([finding?.path, finding?.expectedSha256], [RAN, [digestHex('orders')]]);
    assert.match(finding?.detail ?? '', /in the container$/);
  }
});

test('an image without a program, or without its file, shows nothing that ran', () => {
  const entries: Entry[] = [[OF_OWN, '', '']];
  const [nothing, ...more] = missing(entries, {}, { ...OWN, entrypointPath: '' });
  assert.deepEqual(
    [nothing?.code, nothing?.path, nothing?.fatal, more],
    ['appraisal.entrypoint.missing', undefined, true, []],
  );
  const accented = { ...imageOf('7', { '/app/caf\u00e9': 'orders' }), entrypointPath: '/app/caf\u00e9' };
  assert.deepEqual(missing([[OF_OWN, '/app/caf\u00e9', 'orders']], {}, accented), []);
  assert.equal(missing([[OF_OWN, '/app/caf\u00e9', 'other']], {}, accented).length, 1);
  const [absent] = missing([[OF_OWN, '/app/none', 'x']], {}, { ...OWN, entrypointPath: '/app/none' });
  assert.deepEqual([absent?.path, absent?.expectedSha256], ['/app/none', []]);
});

test('of a range that was used before it is said that nobody ran it', () => {
  const [finding] = missing([], { rangeUse: 'reused' });
  assert.match(finding?.detail ?? '', /not even by an earlier container$/);
});
