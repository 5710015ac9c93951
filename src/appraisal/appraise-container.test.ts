import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Container } from '../proto/lacre/v1/record_pb.ts';
import { EnvironmentName_Relation as Relation } from '../proto/lacre/v1/record_pb.ts';
import { MAX_SIGHTINGS } from './epoch-appraisal.ts';
import type { ImageReference } from './reference/image-reference.ts';
import { CLOSED_NODE, hostFromRun, mountOf, readSample, type SampleReader } from './sample-fixture.ts';
import { codesOf, digestHex, filesOf, IMAGE, recordOf, Scene } from './scene-fixture.ts';

const read: SampleReader = (sample, name) =>
  readFileSync(join(import.meta.dirname, '../../vectors/appraisal', sample, name));
const sample = readSample(read, 'sealed');
const reference = hostFromRun(read, 'sealed', sample);
const [A, B] = [200_000, 201_024];
const OTHER: ImageReference = {
  ...IMAGE,
  manifestDigest: `sha256:${'3'.repeat(64)}`,
  files: filesOf({ '/app/orders': 'other', '/bin/tool': 'tool' }),
};
const EMPTY = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

const scene = () => new Scene(sample, reference).start();
const fatalOf = (codes: string[]) => codes.filter((code) => code.startsWith('!'));

/** A closed container in a range of its own that has run its program. */
function running(fields: Parameters<Scene['container']>[2] = {}): { s: Scene; c: ReturnType<Scene['container']> } {
  const s = scene();
  const c = s.container('orders', A, fields);
  return { s: s.ran(A, '/app/orders', 'orders'), c };
}

test('a container as its image says: every selector, no finding', () => {
  const { s, c } = running({ labels: [{ $typeName: 'lacre.v1.Label', name: 'tier', value: 'a:b' }] });
  const verdict = s.judge(c, recordOf(c));
  assert.deepEqual(verdict.findings, []);
  assert.deepEqual(
    verdict.selectors.filter((selector) => !selector.startsWith('lacre:kernel:')),
    [
      `lacre:image:sha256:${'1'.repeat(64)}`,
      'lacre:image:proven',
      'lacre:image-name:registry.example/orders:1',
      'lacre:entrypoint:/app/orders',
      'lacre:attribution:exact',
      'lacre:config:image',
      'lacre:coverage:exec',
      'lacre:coverage:read',
      'lacre:range:fresh',
      'lacre:container-name:orders',
      'lacre:container:closed',
      'lacre:caller:init',
      'lacre:host:open',
      'lacre:host:standard',
      'lacre:root:software',
      'lacre:host-reference:sealed',
      'lacre:measures:reads',
      'docker:image_id:registry.example/orders:1',
      `docker:image_config_digest:sha256:${'2'.repeat(64)}`,
      'docker:label:tier:a:b',
      'unix:uid:200000',
      'unix:gid:200001',
    ],
  );
  assert.equal(verdict.subject, c.claim.id);
});

/** One entry more in the container's range: what becomes of it. */
const ENTRIES: readonly [
  what: string,
  expected: string[],
  entry: [path: string, content: string, fields?: object],
  inRange?: number,
][] = [
  ['another file of the image', [], ['/bin/sh', 'shell']],
  ['a file of the image owned by another of its users', [], ['/bin/sh', 'shell'], 33],
  ['a changed file', ['! appraisal.file.unexpected'], ['/bin/sh', 'evil']],
  ['a file of another path', ['! appraisal.file.unknown'], ['/tmp/sh', 'shell']],
  ['a changed file that was read', ['! appraisal.file.unexpected'], ['/app/config.json', 'evil', { pcr: 13 }]],
  ['an unknown file that was read', ['! appraisal.file.unknown'], ['/var/log/x', 'log', { pcr: 13 }]],
  ['an empty file that was read', [], ['/etc/hosts', '', { pcr: 13 }]],
  [
    'an empty file in place of one of the image',
    ['! appraisal.file.unexpected'],
    ['/app/config.json', '', { pcr: 13 }],
  ],
  ['an empty file that was executed', ['! appraisal.file.unknown'], ['/x', '']],
  ['a memfd, whatever its content', ['! ima.name.unknown'], ['memfd:/app/orders', 'orders']],
  [
    "runc's copy of itself, which is only the host's",
    ['! ima.name.unknown'],
    ['memfd:runc_cloned:/proc/self/exe', 'runc'],
  ],
  ['shared memory', ['! ima.name.unknown'], ['SYSV00000000', '', { digestState: 'zero', fileDigest: undefined }]],
  [
    'a file without a digest',
    ['! ima.digest.missing'],
    ['/bin/sh', '', { digestState: 'zero', fileDigest: undefined }],
  ],
  ['a weak digest', ['! ima.digest.weak'], ['/bin/sh', '', { digestState: 'refused', fileDigest: undefined }]],
  ['good bytes from FUSE', ['! ima.filesystem.untrusted'], ['/bin/sh', 'shell', { pcr: 14 }]],
];

for (const [what, expected, [path, content, fields], offset = 0] of ENTRIES) {
  test(`container entry: ${what}`, () => {
    const { s, c } = running();
    const neighbour = s.container('payments', B);
    s.ran(B, '/app/orders', 'orders').ran(A + offset, path, content, fields);
    const verdict = s.judge(c);
    assert.deepEqual(codesOf(verdict), expected);
    assert.deepEqual(codesOf(s.judge(neighbour)), [], 'and no other');
    const [bad] = verdict.findings;
    if (bad !== undefined) assert.deepEqual([bad.path, bad.logIndex, bad.subject], [path, 4, c.claim.id]);
    if (bad?.code === 'appraisal.file.unexpected')
      assert.deepEqual([...bad.expectedSha256], [digestHex(path === '/bin/sh' ? 'shell' : 'config')]);
  });
}

test('on a writable root what was read is told, takes coverage:read, and fails nothing', () => {
  const root = mountOf('/', 'overlay', 'root', { peer: '0:7' });
  const { s, c } = running({ rootReadOnly: false, mounts: [root] });
  s.ran(A, '/var/log/x', 'log', { pcr: 13 });
  const verdict = s.judge(c);
  assert.deepEqual(codesOf(verdict), ['appraisal.file.unknown']);
  assert.ok(!verdict.selectors.includes('lacre:coverage:read'));
  assert.ok(verdict.selectors.includes('lacre:coverage:exec'));
});

test('the entrypoint must be in the list, with its digest, as executed, in this range', () => {
  const missing = (prepare: (s: Scene) => unknown) => {
    const s = scene();
    const c = s.container('orders', A);
    prepare(s);
    return fatalOf(codesOf(s.judge(c)));
  };
  assert.deepEqual(
    missing(() => undefined),
    ['! appraisal.entrypoint.missing'],
  );
  assert.deepEqual(
    missing((s) => s.ran(A, '/app/orders', 'evil')),
    ['! appraisal.file.unexpected', '! appraisal.entrypoint.missing'],
  );
  assert.deepEqual(
    missing((s) => s.ran(A, '/app/orders', 'orders', { pcr: 13 })),
    ['! appraisal.entrypoint.missing'],
  );
  assert.deepEqual(
    missing((s) => {
      s.container('x', B);
      s.ran(B, '/app/orders', 'orders');
    }),
    ['! appraisal.entrypoint.missing'],
  );
  assert.deepEqual(
    missing((s) => s.ran(A, '/app/orders', 'orders')),
    [],
  );
  const { s, c } = running();
  s.images.set(IMAGE.manifestDigest, { ...IMAGE, entrypointPath: '' });
  assert.deepEqual(codesOf(s.judge(c)), ['! appraisal.entrypoint.missing']);
});

test('images: unknown, approved later, removed, another configuration', () => {
  const { s, c } = running();
  s.ran(A, '/bin/sh', 'shell');
  s.images.clear();
  assert.deepEqual(codesOf(s.judge(c)), ['! appraisal.image.unknown'], 'one reason, not one for each file');
  assert.match(s.judge(c).findings[0]?.detail ?? '', / registry\.example\/orders:1 \(sha256:1{64}\)$/);
  s.images.set(IMAGE.manifestDigest, IMAGE);
  assert.deepEqual(codesOf(s.judge(c)), []);
  s.images.set(IMAGE.manifestDigest, { ...IMAGE, files: filesOf({ '/app/orders': 'orders' }) });
  assert.deepEqual(codesOf(s.judge(c)), ['! appraisal.file.unknown']);
  s.images.set(IMAGE.manifestDigest, { ...IMAGE, configDigest: `sha256:${'9'.repeat(64)}` });
  assert.deepEqual(codesOf(s.judge(c)), ['! appraisal.image.differs']);
});

test('entries that come before their container belong to it as soon as it is told', () => {
  const s = scene().ran(A, '/app/orders', 'orders').ran(A, '/tmp/evil', 'evil');
  const open = s.container('open', B, {
    mounts: [mountOf('/', 'overlay', 'root', { peer: '0:8' }), mountOf('/data', 'ext4', 'volume', { peer: '0:9' })],
  });
  s.ran(B, '/app/orders', 'orders');
  assert.deepEqual(fatalOf(codesOf(s.judge(open))), ['! appraisal.file.unattributed'], 'nobody owns them yet');
  const c = s.container('orders', A);
  assert.deepEqual(codesOf(s.judge(c)), ['! appraisal.file.unknown']);
  assert.deepEqual(fatalOf(codesOf(s.judge(open))), []);
});

test('a bad entry stays in its range: the next container of it fails too, and says that the range is used', () => {
  const { s, c } = running();
  s.ran(A, '/tmp/evil', 'evil');
  s.stop(c);
  const next = s.container('next', A);
  assert.deepEqual(codesOf(s.judge(next)), ['container.range.reused', '! appraisal.file.unknown']);
});

test('a pod: the closure is of all images recorded in the range, now or before', () => {
  const { s, c } = running();
  s.images.set(OTHER.manifestDigest, OTHER);
  s.ran(A, '/bin/tool', 'tool');
  assert.deepEqual(codesOf(s.judge(c)), ['! appraisal.file.unknown']);
  const other = s.container('other', A, { manifestDigest: OTHER.manifestDigest });
  assert.ok(!codesOf(s.judge(c)).includes('! appraisal.file.unknown'));
  s.stop(other);
  assert.deepEqual(fatalOf(codesOf(s.judge(c))), [], 'also after it has gone');
});

/** Whom an entry without an owner fails. */
function mixed(): {
  s: Scene;
  closed: ReturnType<Scene['container']>;
  open: ReturnType<Scene['container']>;
  shared: ReturnType<Scene['container']>;
} {
  const s = scene();
  const closed = s.container('closed', A);
  const open = s.container('open', B, {
    mounts: [
      mountOf('/', 'overlay', 'root', { readOnly: true, peer: '0:8' }),
      mountOf('/data', 'ext4', 'volume', { peer: '0:9' }),
    ],
  });
  const shared = s.container('shared', undefined, { capabilities: 0n, boundingCapabilities: 0n });
  s.ran(A, '/app/orders', 'orders').ran(B, '/app/orders', 'orders').ran(0, '/app/orders', 'orders');
  return { s, closed, open, shared };
}

test('exact and closed, exact and open, shared: as their findings say', () => {
  const { s, closed, open, shared } = mixed();
  assert.deepEqual(codesOf(s.judge(closed)), []);
  assert.deepEqual(codesOf(s.judge(open)), ['container.open']);
  assert.deepEqual(codesOf(s.judge(shared)), ['container.attribution.shared']);
  assert.ok(s.judge(shared).selectors.includes('lacre:attribution:shared'));
  assert.ok(!s.judge(shared).selectors.includes('lacre:attribution:exact'));
});

test('an unattributed bad entry fails whoever could have made it, and nobody else', () => {
  const { s, closed, open, shared } = mixed();
  s.ran(0, '/tmp/evil', 'evil');
  assert.deepEqual(fatalOf(codesOf(s.judge(closed))), []);
  assert.deepEqual(fatalOf(codesOf(s.judge(open))), ['! appraisal.file.unattributed']);
  assert.deepEqual(fatalOf(codesOf(s.judge(shared))), ['! appraisal.file.unattributed']);
  assert.equal(s.judgeHost().trusted, true);
});

test("an unattributed entry of the engine's own init, or of a shared container's image, fails nobody", () => {
  const { s, open, shared } = mixed();
  s.ran(0, '/run/podman-init', 'catatonit');
  for (const container of [open, shared]) assert.deepEqual(fatalOf(codesOf(s.judge(container))), []);
  s.host = { ...s.host, files: filesOf({ '/sbin/init': 'init' }) };
  assert.deepEqual(fatalOf(codesOf(s.judge(open))), ['! appraisal.file.unattributed']);
});

test('containers that cannot be told apart fail together', () => {
  const { s, closed, shared } = mixed();
  // A range below the pool is no range: its files look like anybody's.
  const second = s.container('second', 100_000, { capabilities: 0n, boundingCapabilities: 0n });
  s.images.set(OTHER.manifestDigest, OTHER);
  assert.equal(s.judge(shared).trusted, true);
  s.ran(100_000, '/bin/evil', 'evil');
  for (const container of [shared, second])
    assert.deepEqual(fatalOf(codesOf(s.judge(container))), ['! appraisal.file.unattributed']);
  assert.deepEqual(fatalOf(codesOf(s.judge(closed))), []);
});

test('a domain that lost exactness takes those with it that it cannot be told from', () => {
  const { s, closed, open, shared } = mixed();
  const volume = mountOf('/shared', 'ext4', 'volume', { root: '/v', peer: '0:77' });
  const writer = s.container('writer', 202_048, {
    mounts: [mountOf('/', 'overlay', 'root', { readOnly: true, peer: '0:30' }), volume],
  });
  const reader = s.container('reader', 203_072, {
    mounts: [mountOf('/', 'overlay', 'root', { readOnly: true, peer: '0:31' }), volume],
  });
  for (const base of [202_048, 203_072]) s.ran(base, '/app/orders', 'orders');
  assert.equal(s.judge(writer).trusted, true);
  s.ran(203_072, '/shared/x', 'evil');
  assert.deepEqual(fatalOf(codesOf(s.judge(reader))), ['! appraisal.file.unknown']);
  for (const container of [writer, shared])
    assert.deepEqual(fatalOf(codesOf(s.judge(container))), ['! appraisal.shared.failed'], container.claim.name);
  for (const container of [closed, open])
    assert.deepEqual(fatalOf(codesOf(s.judge(container))), [], container.claim.name);
});

test('a container with the powers of the host has no identity of its own', () => {
  const s = scene();
  const rangeless = s.container('rangeless', undefined, { privileged: true });
  s.ran(0, '/app/orders', 'orders');
  assert.ok(codesOf(s.judge(rangeless)).includes('! container.attribution.host'));
  for (const fields of [
    { privileged: true },
    { hostNamespaces: ['pid'] },
    { mounts: [mountOf('/', 'overlay', 'root'), mountOf('/run/podman/podman.sock', 'tmpfs', 'engine-socket')] },
  ]) {
    const { s, c } = running(fields);
    assert.ok(codesOf(s.judge(c)).includes('! container.attribution.host'), JSON.stringify(fields));
  }
});

test('a violation takes exact from whoever could change what it executes', () => {
  const { s, c } = running();
  const writable = s.container('writable', B, {
    rootReadOnly: false,
    mounts: [mountOf('/', 'overlay', 'root', { peer: '0:7' })],
  });
  s.ran(B, '/app/orders', 'orders').violation();
  assert.ok(s.judge(c).selectors.includes('lacre:attribution:exact'));
  assert.ok(s.judge(c).selectors.includes('lacre:coverage:read'));
  const lost = s.judge(writable);
  assert.deepEqual(codesOf(lost), ['container.attribution.lost']);
  assert.ok(lost.selectors.includes('lacre:attribution:shared'));
  assert.ok(
    !lost.selectors.some((selector) => selector === 'lacre:attribution:exact' || selector === 'lacre:coverage:read'),
  );
});

test('a violation among entries that no quote covers takes exact as well', () => {
  const { s } = running();
  const writable = s.container('writable', B, {
    rootReadOnly: false,
    mounts: [mountOf('/', 'overlay', 'root', { peer: '0:7' })],
  });
  s.ran(B, '/app/orders', 'orders');
  assert.ok(s.judge(writable).selectors.includes('lacre:attribution:exact'));
  const later = running().s.violation().epoch;
  const judge = () => s.judge(writable, undefined, { laterViolations: later.violations });
  assert.deepEqual(codesOf(judge()), ['container.attribution.lost']);
  assert.ok(judge().selectors.includes('lacre:attribution:shared'));
  assert.partialDeepStrictEqual(judge().findings[0], { path: '/var/log/x', logIndex: 3 });
  s.violation();
  const [both] = judge().findings;
  assert.match(both?.detail ?? '', /^2 violations/);
  assert.deepEqual([both?.path, both?.logIndex], ['/var/log/x', 4]);
});

test('a violation takes exact from a container with a mount that files can be executed in', () => {
  const root = mountOf('/', 'overlay', 'root', { readOnly: true, peer: '0:8' });
  const { s, c } = running({ mounts: [root, mountOf('/data', 'ext4', 'volume', { peer: '0:9' })] });
  const [open] = s.judge(c).findings;
  assert.match(open?.detail ?? '', /files can be executed in \/data$/);
  assert.deepEqual(codesOf(s.violation().judge(c)), ['container.attribution.lost', 'container.open']);
});

test('a host that failed takes its containers with it, and says why', () => {
  const { s, c } = running();
  s.hostRan('/tmp/evil', 'evil');
  const [finding] = s.judge(c).findings;
  assert.equal(finding?.code, 'appraisal.host.refused');
  assert.match(finding.detail, /\/tmp\/evil/);
  assert.deepEqual([finding.path, finding.logIndex], ['/tmp/evil', 3]);
});

test('callers: by exec told, from elsewhere refused, of another state refused', () => {
  const { s, c } = running();
  const judge = (fields: Parameters<typeof recordOf>[1]) => s.judge(c, recordOf(c, fields));
  assert.deepEqual(codesOf(judge({})), []);
  const exec = judge({ isInitFamily: false, joinedByExec: true, executable: '/bin/sh' });
  assert.deepEqual(codesOf(exec), ['container.caller.exec']);
  assert.ok(exec.selectors.includes('lacre:caller:exec'));
  assert.deepEqual(codesOf(judge({ isInitFamily: false })), ['! container.caller.foreign']);
  assert.deepEqual(codesOf(judge({ containerSha256: new Uint8Array(32) })), ['! container.record.stale']);
  assert.deepEqual(codesOf(judge({ containerId: 'f'.repeat(64) })), ['! container.record.stale']);
});

const variable = (name: string, relation: Relation) => ({
  $typeName: 'lacre.v1.EnvironmentName' as const,
  name,
  relation,
});
const PATH = variable('PATH', Relation.EQUAL);
const mounts = (...more: ReturnType<typeof mountOf>[]) => ({
  mounts: [mountOf('/', 'overlay', 'root', { readOnly: true }), ...more.map((mount) => ({ ...mount, noexec: true }))],
});

test('a container that differs in many things is told of all of them each time, by whichever image it is held against', () => {
  for (const count of [1, 16, 17, 40]) {
    const environment = Array.from({ length: count }, (_, at) => ({
      $typeName: 'lacre.v1.EnvironmentName' as const,
      name: `X${String(at).padStart(2, '0')}`,
      relation: Relation.ADDED,
    }));
    const { s, c } = running();
    const changed = { ...c, claim: { ...c.claim, environment: [...environment] } };
    const told = () => s.judge(changed).findings.filter(({ code }) => code === 'appraisal.config.environment').length;
    const first = told();
    assert.ok(first >= count);
    assert.equal(told(), first);
    const environmentOfImage = new Map([...IMAGE.environment, ['X00', 'value']]);
    s.images.set(IMAGE.manifestDigest, { ...IMAGE, environment: environmentOfImage });
    const details = s.judge(changed).findings.map(({ detail }) => detail);
    assert.ok(details.includes("the variable X00 has another value than the image's"));
  }
});

/** What makes a container config:changed. */
const CONFIGURATIONS: readonly [what: string, code: string | undefined, fields: Partial<Container>][] = [
  ['other arguments', 'appraisal.config.argv', { argv: ['/app/orders', 'serve', '--debug'] }],
  ['another program', 'appraisal.config.argv', { argv: ['/bin/sh'] }],
  ['another folder', 'appraisal.config.cwd', { cwd: '/tmp' }],
  ['the same folder with a slash', undefined, { cwd: '/app/' }],
  ['another user', 'appraisal.config.user', { uid: 1000 }],
  ['another group', 'appraisal.config.user', { gid: 1000 }],
  ['a variable more', 'appraisal.config.environment', { environment: [variable('DEBUG', Relation.ADDED), PATH] }],
  [
    "an engine's own variable",
    undefined,
    { environment: [variable('HOME', Relation.ADDED), PATH, variable('TERM', Relation.ADDED)] },
  ],
  ['another value', 'appraisal.config.environment', { environment: [variable('PATH', Relation.DIFFERS)] }],
  ['a variable less', 'appraisal.config.environment', { environment: [] }],
  ['a variable less, told', 'appraisal.config.environment', { environment: [variable('PATH', Relation.MISSING)] }],
  [
    'a lie: equal to nothing',
    'appraisal.config.environment',
    { environment: [variable('MORE', Relation.EQUAL), PATH] },
  ],
  ...[
    'LD_PRELOAD',
    'PYTHONPATH',
    'NODE_OPTIONS',
    'BASH_ENV',
    'JAVA_TOOL_OPTIONS',
    'PERL5LIB',
    'LD_LIBRARY_PATH',
    'GCONV_PATH',
  ].map((name): [string, string, Partial<Container>] => [
    name,
    'appraisal.config.interpreter',
    { environment: [variable(name, Relation.ADDED), PATH].toSorted((a, b) => (a.name < b.name ? -1 : 1)) },
  ]),
  ['a mount over a file of the image', 'appraisal.config.mount', mounts(mountOf('/app/config.json', 'ext4', 'bind'))],
  ['a mount over a folder of the image', 'appraisal.config.mount', mounts(mountOf('/bin', 'ext4', 'volume'))],
  ['a tmpfs over a folder of the image', 'appraisal.config.mount', mounts(mountOf('/app', 'tmpfs', 'tmpfs'))],
  ["what says that it is the engine's", 'appraisal.config.mount', mounts(mountOf('/bin/sh', 'ext4', 'engine'))],
  [
    'a mount beside the image',
    undefined,
    mounts(
      mountOf('/data', 'ext4', 'volume'),
      mountOf('/application', 'ext4', 'bind'),
      mountOf('/etc/hosts', 'tmpfs', 'engine'),
      mountOf('/proc', 'proc', 'kernel'),
    ),
  ],
  ['a capability', 'appraisal.config.capabilities', { capabilities: 1n << 12n }],
  ['a capability that it may take', 'appraisal.config.capabilities', { boundingCapabilities: 1n << 12n }],
  ['no seccomp', 'appraisal.config.seccomp', { seccompMode: 0, seccompSha256: new Uint8Array() }],
  ["the host's network", 'appraisal.config.namespaces', { hostNamespaces: ['net'] }],
  ['a device', 'appraisal.config.devices', { devices: ['/dev/kvm', '/dev/null'] }],
  ['the usual devices', undefined, { devices: ['/dev/null', '/dev/pts/0'] }],
];

for (const [what, code, fields] of CONFIGURATIONS) {
  test(`configuration: ${what}`, () => {
    const { s, c } = running(fields);
    const verdict = s.judge(c);
    assert.equal(verdict.trusted, true);
    const found = codesOf(verdict).filter((one) => one.startsWith('appraisal.config.'));
    assert.deepEqual([...new Set(found)], code === undefined ? [] : [code]);
    assert.ok(verdict.selectors.includes(`lacre:config:${code === undefined ? 'image' : 'changed'}`));
  });
}

test('a caller is named by its program, where one is known', () => {
  const { s, c } = running();
  const detail = (fields: Parameters<typeof recordOf>[1]) => s.judge(c, recordOf(c, fields)).findings[0]?.detail;
  assert.match(detail({ isInitFamily: false, joinedByExec: true }) ?? '', /^the caller was started/);
  assert.match(detail({ isInitFamily: false, joinedByExec: true, executable: '/bin/sh' }) ?? '', /^\/bin\/sh was/);
  assert.match(detail({ isInitFamily: false }) ?? '', /^the caller is not/);
  assert.match(detail({ isInitFamily: false, executable: '/bin/sh' }) ?? '', /^\/bin\/sh is not/);
});

test('an image is known by its manifest, or by the configuration where no manifest is told', () => {
  const other = `sha256:${'8'.repeat(64)}`;
  const { s, c } = running({ configDigest: '' });
  assert.deepEqual(codesOf(s.judge(c)), [], 'the manifest names its configuration');
  s.images.set(IMAGE.configDigest, IMAGE);
  const byConfig = s.container('orders', A, { manifestDigest: '' });
  assert.deepEqual(fatalOf(codesOf(s.judge(byConfig))), []);
  s.images.set(other, IMAGE);
  const alien = s.container('orders', A, { manifestDigest: other, configDigest: '' });
  const { findings } = s.judge(alien);
  assert.deepEqual([findings[0]?.code, findings[0]?.fatal], ['appraisal.image.differs', true]);
  const nameless = s.container('orders', A, { manifestDigest: '', configDigest: '', imageName: '' });
  assert.match(s.judge(nameless).findings.at(-1)?.detail ?? '', /without a name \(no digest\)/);
});

test('a container of a domain that is the host’s is the host’s, and says by whose reason', () => {
  const { s, c } = running();
  const domain = s.book.domain(s.book.standing(c.claim.id)?.domainId ?? '');
  assert.ok(domain);
  const reasons = ['first', 'second', 'third', 'fourth', 'fifth'].map((detail) => ({
    code: 'privileged' as const,
    containerId: 'f'.repeat(64),
    detail,
  }));
  const [finding, ...more] = s.judge(c, undefined, { domain: { ...domain, attribution: 'host', reasons } }).findings;
  assert.deepEqual([finding?.code, finding?.fatal, more.length], ['container.attribution.host', true, 0]);
  assert.match(finding?.detail ?? '', /: first; second; third; fourth$/);
  const standing = s.book.standing(c.claim.id);
  assert.ok(standing);
  const own = { ...standing, attribution: 'shared' as const, reasons: reasons.slice(4) };
  const [shared] = s.judge(c, undefined, { domain: { ...domain, reasons }, standing: own }).findings;
  assert.equal(shared?.code, 'container.attribution.shared');
  assert.match(shared.detail, /: fifth$/);
  const writable = s.container('orders', A, { rootReadOnly: false, mounts: [mountOf('/', 'overlay', 'root')] });
  const lost = s.violation().judge(writable, undefined, { domain: { ...domain, attribution: 'host', reasons } });
  assert.deepEqual(codesOf(lost), ['! container.attribution.host'], 'no more can be lost');
});

test('the entrypoint must be a file of the image, and have run in the range by whoever had it', () => {
  const { s, c } = running();
  s.images.set(IMAGE.manifestDigest, { ...IMAGE, entrypointPath: '/app/none' });
  const [finding] = s.judge(c).findings;
  assert.deepEqual([finding?.code, finding?.path], ['appraisal.entrypoint.missing', '/app/none']);
  assert.deepEqual([...(finding?.expectedSha256 ?? [])], []);
  s.stop(c);
  const next = s.container('next', A);
  const missing = s.judge(next).findings.find(({ code }) => code === 'appraisal.entrypoint.missing');
  assert.match(missing?.detail ?? '', /not even by an earlier container/);
});

test('an image of the domain that nobody approved explains nothing, and without a host no file of its does', () => {
  const { s, open } = mixed();
  const pod = s.container('other', B, { manifestDigest: OTHER.manifestDigest });
  s.ran(B, '/bin/tool', 'tool');
  assert.deepEqual(fatalOf(codesOf(s.judge(pod))), ['! appraisal.image.unknown']);
  assert.deepEqual(fatalOf(codesOf(s.judge(open))), ['! appraisal.file.unknown']);
  const other = mixed();
  other.s.ran(0, '/run/podman-init', 'catatonit');
  assert.deepEqual(fatalOf(codesOf(other.s.judge(other.open, undefined, { host: undefined }))), [
    '! appraisal.file.unattributed',
  ]);
});

test('a long command line is told in its first words', () => {
  const { s, c } = running({ argv: ['/app/orders', 'x'.repeat(400)] });
  const [finding] = s.judge(c).findings;
  assert.equal(finding?.code, 'appraisal.config.argv');
  assert.match(finding.detail, /x…, where the image says \["\/app\/orders","serve"\]$/);
  assert.ok(finding.detail.length < 400);
});

test('an image without a working directory starts in /', () => {
  const { s, c } = running({ cwd: '/' });
  assert.deepEqual(codesOf(s.judge(c)), ['appraisal.config.cwd']);
  s.images.set(IMAGE.manifestDigest, { ...IMAGE, workingDir: '' });
  assert.deepEqual(codesOf(s.judge(c)), []);
});

test('processes that its first process did not start are told', () => {
  for (const execSessions of [1, 2]) {
    const { s, c } = running({ execSessions });
    assert.deepEqual(codesOf(s.judge(c)), ['container.exec.sessions']);
  }
});

test('what a node does not prove of reads gives no coverage:read', () => {
  const { s, c } = running();
  s.host = { ...s.host, policy: s.host.policy.replace(/.*pcr=13\n/, '') };
  assert.ok(!s.judge(c).selectors.includes('lacre:coverage:read'));
});

test('a domain with more files than can be judged fails', () => {
  const { s, c } = running();
  for (let i = 0; i < MAX_SIGHTINGS.domain; i++)
    s.ran(A, '/etc/hosts', '', { pcr: 13, fileDigest: { algorithm: 'sha256', hex: EMPTY }, path: `/e${i}` });
  assert.ok(codesOf(s.judge(c)).includes('! ima.list.oversized'));
});

test('nested user namespaces that nothing denies end exactness', () => {
  const s = scene();
  s.observation = { ...CLOSED_NODE, unprivilegedUsernsClone: 2 };
  const c = s.container('orders', A);
  s.ran(A, '/app/orders', 'orders');
  assert.deepEqual(codesOf(s.judge(c)), ['container.attribution.shared', 'container.open']);
  assert.match(s.judge(c).findings[1]?.detail ?? '', /had, the means to mount more$/);
});
