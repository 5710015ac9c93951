import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { commandLineDigest } from '../boot/command-line.ts';
import { type BootEvent, parseEventLog } from '../boot/event-log.ts';
import { replayEventLog } from '../boot/replayed-boot.ts';
import { toHex } from '../bytes/hex.ts';
import type { Measurement } from '../ima/measurement.ts';
import { imaPolicy } from '../ima/policy.ts';
import { hostJudgeOf, lowerHost } from './appraise-host.ts';
import { readCommandLine } from './command-line-facts.ts';
import { MAX_SIGHTINGS } from './epoch-appraisal.ts';
import { readPolicy } from './policy-facts.ts';
import {
  bootReferenceOf,
  type HostReference,
  hostReferenceMessage,
  hostReferenceOf,
} from './reference/host-reference.ts';
import { CLOSED_NODE, hostFromRun, readSample, type SampleReader } from './sample-fixture.ts';
import { codesOf, digestHex, digestOf, filesOf, POOL, Scene, SILENT_NODE } from './scene-fixture.ts';

const read: SampleReader = (sample, name) =>
  readFileSync(join(import.meta.dirname, '../../vectors/appraisal', sample, name));
const sample = readSample(read, 'sealed');
const reference = hostFromRun(read, 'sealed', sample);
const scene = () => new Scene(sample, reference).start();
const grade = (s: Scene) => s.judgeHost().selectors.findLast((selector) => selector.startsWith('lacre:host:'));

/** What the kernel measures of a verity device when its table is loaded; the root digest is one digit, 64 times. */
const verityTable = (digit: string, more = ''): Partial<Measurement> => {
  const target = `target_index=0,target_begin=0,target_len=8,target_name=verity,target_version=1.10.0,hash_failed=V`;
  const tree = `verity_version=1,data_device_name=254:0,hash_device_name=254:0,verity_algorithm=sha256,root_digest=${digit.repeat(64)}`;
  const device = 'dm_version=4.48.0;name=root,uuid=,major=253,minor=0,minor_count=1,num_targets=1';
  const text = `${device};${target},${tree},salt=-,ignore_zero_blocks=n,check_at_most_once=n${more};`;
  return { kind: 'buffer', buffer: Buffer.from(text) };
};

/** The scene booted with another command line, approved as well. @param table measured before the first program. */
function bootedWith(line: string, table?: Partial<Measurement>): Scene {
  const known = commandLineDigest(reference.boot.commandLines[0] ?? '');
  const isLine = ({ digests }: BootEvent) => Buffer.from(digests.sha256 ?? []).equals(known);
  assert.equal(sample.boot.events.filter(isLine).length, 1);
  const digest = { sha256: commandLineDigest(line) };
  const boot = replayEventLog(
    sample.boot.events.map((event) => (isLine(event) ? { ...event, digests: digest } : event)),
  );
  const s = new Scene({ ...sample, boot }, { ...reference, boot: { ...reference.boot, commandLines: [line] } });
  if (table === undefined) return s.start();
  return s.aggregate().entry('dm_table_load', 'table', table).hostRan('/sbin/init', 'init');
}

test('a node that is as it should be: standard, and why not sealed', () => {
  const verdict = scene().judgeHost();
  assert.deepEqual(codesOf(verdict), ['appraisal.root.unverified']);
  const kernels = verdict.selectors.filter((selector) => selector.startsWith('lacre:kernel:'));
  assert.deepEqual(
    kernels,
    reference.boot.kernelSha256.map((digest) => `lacre:kernel:sha256:${toHex(digest)}`),
  );
  assert.deepEqual(
    verdict.selectors.filter((selector) => !selector.startsWith('lacre:kernel:')),
    [
      'lacre:host:open',
      'lacre:host:standard',
      'lacre:root:software',
      'lacre:host-reference:sealed',
      'lacre:measures:reads',
    ],
  );
});

test('sealed: verity, pinned firmware, and none of the general-purpose tools', () => {
  const line = `${reference.boot.commandLines[0]} roothash=${'a'.repeat(64)}`;
  const s = bootedWith(line, verityTable('a'));
  assert.deepEqual(codesOf(s.judgeHost()), ['ima.data.measured']);
  assert.equal(grade(s), 'lacre:host:sealed');
  const { host } = s;
  const unpinned = new Map([...host.boot.pcrs].filter(([pcr]) => pcr !== 0));
  s.host = { ...host, boot: { ...host.boot, pcrs: unpinned } };
  const told = ['boot.firmware.unpinned', 'ima.data.measured'];
  assert.deepEqual(codesOf(s.judgeHost()), [...told, 'appraisal.firmware.open']);
  const tools = { '/usr/bin/python3.11': 'py', '/bin/tpm2_quote': 'q', '/usr/bin/shred': 's' };
  s.host = { ...host, files: filesOf({ '/sbin/init': 'init', ...tools }) };
  for (const [path, content] of Object.entries(tools)) s.hostRan(path, content);
  const [table, ...tools_] = codesOf(s.judgeHost());
  assert.deepEqual([table, ...tools_], ['ima.data.measured', 'appraisal.tool.present', 'appraisal.tool.present']);
  assert.equal(grade(s), 'lacre:host:standard');
});

test('entries without a quote take a grade, and give none', () => {
  const line = `${reference.boot.commandLines[0]} roothash=${'a'.repeat(64)}`;
  const sealed = bootedWith(line, verityTable('a')).judgeHost();
  const after = (more: (s: Scene) => Scene) => {
    const later = more(new Scene(sample, reference)).epoch;
    const { selectors, findings, evidenceTime } = lowerHost(sealed, later);
    assert.deepEqual(evidenceTime, sealed.evidenceTime);
    const grades = selectors.filter((selector) => /host:|measures/.test(selector));
    return [...grades.map((selector) => selector.replace(/^lacre:(host:)?/, '')), findings.at(-1)?.code];
  };
  assert.equal(lowerHost(sealed, new Scene(sample, reference).hostRan('/sbin/init', 'init').epoch), sealed);
  assert.deepEqual(
    after((s) => s.hostRan('/bin/bash', 'x')),
    ['open', 'standard', 'measures:reads', 'appraisal.tool.present'],
  );
  assert.deepEqual(
    after((s) => s.entry('/x', '', { violation: true })),
    ['open', 'standard', 'measures:reads', 'ima.violation'],
  );
  const fuse = { pcr: 14, template: 'evm-sig', iuid: 0 };
  assert.deepEqual(
    after((s) => s.hostRan('/bin/bash', 'x').entry('/mnt/x', 'x', fuse)),
    ['open', 'appraisal.tool.present'],
  );
  const standard = scene().judgeHost();
  assert.equal(lowerHost(standard, new Scene(sample, reference).hostRan('/bin/bash', 'x').epoch), standard);
  const refused = scene().hostRan('/tmp/x', 'x').judgeHost();
  assert.equal(lowerHost(refused, new Scene(sample, reference).hostRan('/bin/bash', 'x').epoch), refused);
});

test('a root hash on the command line is nothing unless the kernel checks the root by it', () => {
  const line = `${reference.boot.commandLines[0]} roothash=${'a'.repeat(64)}`;
  const created = `dm-mod.create="root,,,ro,0 8 verity 1 /dev/vda /dev/vda 4096 4096 1 1 sha256 ${'a'.repeat(64)} -"`;
  const lacks = (s: Scene) => codesOf(s.judgeHost()).includes('appraisal.root.unverified');
  assert.equal(lacks(bootedWith(line)), true);
  assert.equal(lacks(bootedWith(line, verityTable('a'))), false);
  assert.equal(lacks(bootedWith(`${reference.boot.commandLines[0]} ${created}`, verityTable('a'))), false);
  for (const table of [
    verityTable('b'),
    verityTable('a', ',verity_mode=ignore_corruption'),
    verityTable('a', ',num_targets=2'),
  ])
    assert.equal(lacks(bootedWith(line, table)), true);
  const names: [string, string][] = [
    ['target_name=verity', 'target_name=linear'],
    ['verity_algorithm=sha256', 'verity_algorithm=sha1'],
    ['target_begin=0', 'target_begin=8'],
    ['num_targets=1', 'num_targets=0'],
    ['hash_failed=V', 'hash_failed=C'],
    ['root_digest=', 'root_digest=z'],
    [',root_digest=', ',root='],
    ['root_digest=', 'text without a value;root='],
  ];
  for (const [from, to] of names) {
    const text = Buffer.from(verityTable('a').buffer ?? []).toString();
    const buffer = Buffer.from(text.replace(from, to));
    assert.equal(lacks(bootedWith(line, { kind: 'buffer', buffer })), true, to);
  }
  assert.equal(lacks(bootedWith(line, { kind: 'buffer' })), true);
  const started = bootedWith(line, verityTable('a'));
  started.host = { ...started.host, nextInit: '/sbin/other' };
  assert.equal(lacks(started), true, 'its first program did not run');
  const late = bootedWith(line).entry('dm_table_load', 'table', verityTable('a'));
  assert.equal(lacks(late), true, 'mapped when the first program of the root had run');
  const named = verityTable('b');
  const escaped = Buffer.from(named.buffer ?? []).toString();
  const forged = escaped.replace('name=root', `name=x\\,root_digest\\=${'a'.repeat(64)}`);
  assert.equal(lacks(bootedWith(line, { ...named, buffer: Buffer.from(forged) })), true);
});

test('the command line decides what is closed', () => {
  const without = (word: string) => bootedWith((reference.boot.commandLines[0] ?? '').replace(word, 'x'));
  const cases: [Scene, string, string[]][] = [
    [without('sysctl.kernel.yama.ptrace_scope=3'), 'standard', ['appraisal.memory.open', 'appraisal.root.unverified']],
    [
      without('lockdown=integrity'),
      'open',
      ['appraisal.kernel.open', 'appraisal.memory.open', 'appraisal.root.unverified'],
    ],
    [without('sysctl.kernel.kexec_load_disabled=1'), 'open', ['appraisal.kernel.open', 'appraisal.root.unverified']],
    [
      bootedWith('module.sig_enforce=1 sysctl.kernel.kexec_load_disabled=1'),
      'standard',
      ['appraisal.memory.open', 'appraisal.memory.open', 'appraisal.root.unverified'],
    ],
  ];
  for (const [s, expected, codes] of cases) {
    assert.equal(grade(s), `lacre:host:${expected}`);
    assert.deepEqual(codesOf(s.judgeHost()), codes);
  }
});

test('a list whose boot_aggregate is of another boot is refused', () => {
  const s = scene();
  const { boot } = readSample(read, 'podman-good');
  s.evidence = { boot };
  assert.ok(codesOf(s.judgeHost()).includes('! ima.aggregate.unexpected'));
});

test('no reference values: nothing is trusted', () => {
  const s = scene();
  s.evidence = { reference: undefined };
  assert.deepEqual(codesOf(s.judgeHost()), ['! appraisal.host.unknown']);
  assert.deepEqual(s.judgeHost().selectors, []);
});

/** One entry more: what becomes of the node. */
const ENTRIES: readonly [
  what: string,
  expected: string[],
  fields: Partial<Measurement> & { path: string; content?: string },
][] = [
  ['approved', [], { path: '/usr/bin/agent', content: 'agent' }],
  ['changed', ['! appraisal.file.unexpected'], { path: '/usr/bin/agent', content: 'evil' }],
  ['unknown', ['! appraisal.file.unknown'], { path: '/tmp/x' }],
  ['known digest at another path', ['! appraisal.file.unknown'], { path: '/tmp/agent', content: 'agent' }],
  ['runc, which copies itself', [], { path: 'memfd:runc_cloned:/proc/self/exe', content: 'runc' }],
  ['something else as runc', ['! ima.name.unknown'], { path: 'memfd:runc_cloned:/proc/self/exe', content: 'evil' }],
  ['a memfd', ['! ima.name.unknown'], { path: 'memfd:x', content: 'runc' }],
  ['shared memory', ['! ima.name.unknown'], { path: 'SYSV00000000', digestState: 'zero', fileDigest: undefined }],
  ['no digest', ['! ima.digest.missing'], { path: '/usr/bin/agent', digestState: 'zero', fileDigest: undefined }],
  ['refused digest', ['! ima.digest.weak'], { path: '/usr/bin/agent', digestState: 'refused', fileDigest: undefined }],
  [
    'another digest',
    ['! ima.digest.weak'],
    { path: '/usr/bin/agent', fileDigest: { algorithm: 'sha512', hex: 'ab'.repeat(64) } },
  ],
  ['second boot_aggregate', ['! ima.aggregate.repeated'], { path: 'boot_aggregate', kind: 'boot-aggregate-again' }],
  ['kexec', ['! ima.kexec.used'], { path: 'kexec-cmdline', kind: 'buffer', buffer: Buffer.from('quiet') }],
  ['approved module from memory', [], { path: 'init_module', kind: 'buffer', buffer: digestOf('module') }],
  ['the same, digest as text', [], { path: 'init_module', kind: 'buffer', buffer: Buffer.from(digestHex('module')) }],
  [
    'unknown module from memory',
    ['! ima.module.unknown'],
    { path: 'init_module', kind: 'buffer', buffer: digestOf('agent') },
  ],
  ['the policy as written', [], { path: 'ima_policy_written', kind: 'buffer', buffer: Buffer.from(imaPolicy(POOL)) }],
  [
    'what is left of it',
    [],
    { path: 'ima_policy_written', kind: 'buffer', buffer: Buffer.from('measure func=POLICY_CHECK\n') },
  ],
  [
    'half a rule of it',
    ['! ima.data.unknown'],
    { path: 'ima_policy_written', kind: 'buffer', buffer: Buffer.from('func=POLICY_CHECK\n') },
  ],
  [
    'another policy',
    ['! ima.data.unknown'],
    { path: 'ima_policy_written', kind: 'buffer', buffer: Buffer.from('dont_measure\n') },
  ],
  ['device mapper', ['ima.data.measured'], { path: 'dm_table_load', kind: 'buffer', buffer: Buffer.from('x') }],
  ['an unknown text', ['! ima.data.unknown'], { path: 'whatever', kind: 'buffer', buffer: Buffer.from('x') }],
  ['untrusted file system', ['! ima.filesystem.untrusted'], { path: '/usr/bin/agent', content: 'agent', pcr: 14 }],
];

for (const [what, expected, { path, content = '', ...fields }] of ENTRIES) {
  test(`host entry: ${what}`, () => {
    const verdict = scene().hostRan(path, content, fields).judgeHost();
    assert.deepEqual(
      codesOf(verdict),
      [...expected, 'appraisal.root.unverified'].toSorted(
        (a, b) => Number(a.startsWith('appraisal.root')) - Number(b.startsWith('appraisal.root')),
      ),
    );
    const bad = verdict.findings[0];
    if (expected.length > 0) assert.deepEqual([bad?.path, bad?.logIndex, bad?.subject], [path, 2, 'host']);
  });
}

test('the list must begin with the aggregate of this very boot', () => {
  const empty = new Scene(sample, reference);
  assert.ok(codesOf(empty.judgeHost()).includes('! ima.aggregate.missing'));
  const hex = toHex(sample.boot.bootAggregate());
  const begins = (fields: Partial<Measurement>) =>
    codesOf(
      new Scene(sample, reference).entry('boot_aggregate', '', { kind: 'boot-aggregate', ...fields }).judgeHost(),
    );
  const fileDigest = { algorithm: 'sha256', hex } as const;
  assert.ok(!begins({ fileDigest }).some((code) => code.startsWith('! ima.aggregate')));
  for (const fields of [{ index: 1 }, { kind: 'file' as const }, { pcr: 13 }, { pcr: 14 }])
    assert.ok(begins({ fileDigest, ...fields }).includes('! ima.aggregate.missing'), JSON.stringify(fields));
  const other = new Scene(sample, reference)
    .entry('boot_aggregate', 'other', { kind: 'boot-aggregate' })
    .hostRan('/sbin/init', 'init');
  const [finding] = other.judgeHost().findings;
  assert.partialDeepStrictEqual(finding, {
    code: 'ima.aggregate.unexpected',
    path: 'boot_aggregate',
    expectedSha256: [hex],
    seenSha256: digestHex('other'),
    logIndex: 0,
  });
});

test('where the bank is SHA-384 the aggregate is of that bank, or zeros by a kernel that has none', () => {
  const events = sample.boot.events.map((event) => ({
    ...event,
    digests: { sha384: new Uint8Array(48).fill(event.pcr) },
  }));
  const boot = replayEventLog(events, 'sha384');
  const codes = (fields: Partial<Measurement>, of = boot) => {
    const s = new Scene(sample, reference).entry('boot_aggregate', '', { kind: 'boot-aggregate', ...fields });
    s.evidence = { boot: of };
    return codesOf(s.judgeHost()).filter((code) => code.includes('aggregate'));
  };
  const hex = toHex(boot.bootAggregate());
  const zero = { digestState: 'zero' as const, fileDigest: undefined };
  assert.deepEqual(codes({ fileDigest: { algorithm: 'sha384', hex } }), []);
  assert.deepEqual(codes(zero), []);
  const wrong = ['! ima.aggregate.unexpected'];
  assert.deepEqual(codes({ fileDigest: { algorithm: 'sha256', hex } }), wrong);
  assert.deepEqual(codes({ fileDigest: { algorithm: 'sha384', hex: hex.replace(/^../, '00') } }), wrong);
  assert.deepEqual(codes(zero, sample.boot), wrong, 'zeros say nothing where there is a bank to say');
});

const withReference = (change: (host: HostReference) => Partial<HostReference>) => {
  const s = scene();
  s.host = { ...s.host, ...change(s.host) };
  return s;
};

test('what is pinned must match, what is left open makes the host open', () => {
  const none = [new Uint8Array(32)];
  const pinned = withReference(({ boot }) => ({ boot: { ...boot, kernelSha256: none } })).judgeHost();
  assert.equal(pinned.trusted, false);
  assert.ok(codesOf(pinned).includes('! boot.kernel.unknown'));
  const open = withReference(({ boot }) => ({ boot: { ...boot, kernelSha256: [] } }));
  assert.equal(grade(open), 'lacre:host:open');
  assert.ok(codesOf(open.judgeHost()).includes('appraisal.policy.unproven'));
  for (const change of [{ initrdSha256: none }, { commandLines: ['quiet'] }, { pcrs: new Map([[0, none]]) }]) {
    assert.equal(
      withReference(({ boot }) => ({ boot: { ...boot, ...change } })).judgeHost().trusted,
      false,
      Object.keys(change).join(),
    );
  }
  const anyLine = withReference(({ boot }) => ({ boot: { ...boot, commandLines: [] } }));
  assert.equal(grade(anyLine), 'lacre:host:open');
  assert.ok(codesOf(anyLine.judgeHost()).includes('appraisal.kernel.open'));
  // What is left open excuses nothing else.
  for (const change of [{ kernelSha256: [] }, { commandLines: [] }]) {
    const other = withReference(({ boot }) => ({ boot: { ...boot, ...change, initrdSha256: none } })).judgeHost();
    assert.ok(codesOf(other).includes('! boot.initrd.unknown'), Object.keys(change).join());
  }
  assert.ok(
    codesOf(
      withReference(({ boot }) => ({ boot: { ...boot, kernelSha256: [], commandLines: ['quiet'] } })).judgeHost(),
    ).includes('! boot.cmdline.unknown'),
  );
  assert.ok(
    codesOf(
      withReference(({ boot }) => ({ boot: { ...boot, kernelSha256: none, commandLines: [] } })).judgeHost(),
    ).includes('! boot.kernel.unknown'),
  );
});

test('a firmware that measures no kernel: only a software root, never more than open', () => {
  const seabios = replayEventLog(
    parseEventLog(readFileSync(join(import.meta.dirname, '../../vectors/boot/seabios-direct-kernel.log'))),
  );
  const make = (rootOfTrust: 'software' | 'vtpm', boot: Partial<HostReference['boot']>) => {
    const s = new Scene({ ...sample, boot: seabios }, reference);
    s.host = { ...s.host, boot: { kernelSha256: [], initrdSha256: [], commandLines: [], pcrs: new Map(), ...boot } };
    s.evidence = { rootOfTrust };
    return s.start();
  };
  const found = make('software', {}).judgeHost();
  assert.ok(found.selectors.includes('lacre:boot:none'));
  assert.equal(grade(make('software', {})), 'lacre:host:open');
  assert.equal(make('vtpm', {}).judgeHost().trusted, false);
  assert.equal(make('software', { kernelSha256: [new Uint8Array(32)] }).judgeHost().trusted, false);
});

const OPEN: readonly [what: string, code: string, change: (host: HostReference) => Partial<HostReference>][] = [
  ['no policy', 'appraisal.policy.unproven', () => ({ policy: '' })],
  [
    'a policy without modules',
    'appraisal.policy.weak',
    ({ policy }) => ({ policy: policy.replace('measure func=MODULE_CHECK\n', '') }),
  ],
  [
    'a policy that leaves out root',
    'appraisal.policy.weak',
    ({ policy }) => ({ policy: `dont_measure uid=0\n${policy}` }),
  ],
  ['a policy for another pool', 'appraisal.policy.weak', () => ({ uidPoolBase: 300_000 })],
  ['no first program', 'appraisal.init.missing', () => ({ nextInit: '' })],
  ['a first program that did not run', 'appraisal.init.missing', () => ({ nextInit: '/usr/bin/agent' })],
];

for (const [what, code, change] of OPEN) {
  test(`host:open for ${what}`, () => {
    const s = withReference(change);
    assert.equal(grade(s), 'lacre:host:open');
    assert.ok(codesOf(s.judgeHost()).includes(code), codesOf(s.judgeHost()).join());
  });
}

test('something of a container before the first program', () => {
  const s = new Scene(sample, reference);
  s.entry('boot_aggregate', '', {
    kind: 'boot-aggregate',
    fileDigest: { algorithm: 'sha256', hex: Buffer.from(sample.boot.bootAggregate()).toString('hex') },
  });
  s.ran(0, '/x', 'x').hostRan('/sbin/init', 'init');
  assert.equal(grade(s), 'lacre:host:open');
  assert.ok(codesOf(s.judgeHost()).includes('appraisal.init.unexpected'));
});

test('reads are measured where the policy says so and the host is not open', () => {
  const measures = (s: Scene) => s.judgeHost().selectors.includes('lacre:measures:reads');
  assert.equal(measures(scene()), true);
  assert.equal(measures(withReference(({ policy }) => ({ policy: policy.replace(/.*pcr=13\n/, '') }))), false);
  const open = withReference(() => ({ nextInit: '' }));
  assert.deepEqual([grade(open), measures(open)], ['lacre:host:open', false]);
});

test('reference values have one judge', () => {
  assert.equal(hostJudgeOf(reference), hostJudgeOf(reference));
  assert.notEqual(hostJudgeOf(reference), hostJudgeOf({ ...reference }));
});

test('what the node observes of itself can lower, and never raises', () => {
  for (const [change, differs] of [
    [{ lockdown: 'none' }, true],
    [{ kexecLoadDisabled: 1 }, true],
    [{ ptraceScope: 1 }, true],
    [{ lockdown: 'confidentiality' }, false],
  ] as const) {
    const s = scene();
    s.observation = { ...CLOSED_NODE, ...change };
    assert.equal(codesOf(s.judgeHost()).includes('appraisal.observation.differs'), differs);
    assert.equal(grade(s), differs ? 'lacre:host:open' : 'lacre:host:standard');
  }
  const silent = scene();
  silent.observation = SILENT_NODE;
  assert.equal(grade(silent), 'lacre:host:standard');
  const anyLine = withReference(({ boot }) => ({ boot: { ...boot, commandLines: [] } }));
  assert.equal(grade(anyLine), 'lacre:host:open');
});

test('a violation never fails the node, but takes sealed; an unowned entry of FUSE takes standard', () => {
  assert.ok(codesOf(scene().violation().judgeHost()).includes('ima.violation'));
  assert.equal(grade(scene().violation()), 'lacre:host:standard');
  const fuse = scene().ran(0, '/mnt/app', 'good', { pcr: 14 });
  assert.ok(codesOf(fuse.judgeHost()).includes('ima.filesystem.untrusted'));
  assert.equal(grade(fuse), 'lacre:host:open');
});

test('an unsafe clock is told', () => {
  const s = scene();
  s.evidence = { clockSafe: false };
  assert.ok(codesOf(s.judgeHost()).includes('tpm.clock.unsafe'));
  assert.equal(s.judgeHost().trusted, true);
});

test('what is told in thousands is told in sum, and fails nothing', () => {
  const { s } = { s: scene() };
  const files = Object.fromEntries(Array.from({ length: 300 }, (_, n) => [`/bin/python${n}`, String(n)]));
  s.host = { ...s.host, files: filesOf({ '/sbin/init': 'init', ...files }) };
  for (const [path, content] of Object.entries(files)) s.hostRan(path, content);
  const verdict = s.judgeHost();
  assert.equal(verdict.trusted, true);
  assert.match(verdict.findings.at(-1)?.detail ?? '', /^44 more entries/);
});

test('thousands of bad entries: the first ones whole, of the rest the number; too many different files fail', () => {
  const s = scene();
  for (let i = 0; i < 300; i++) s.hostRan(`/tmp/${i}`, 'x');
  const { findings } = s.judgeHost();
  assert.equal(findings.filter(({ code }) => code === 'appraisal.file.unknown').length, 257);
  assert.match(findings[256]?.detail ?? '', /^44 more/);
  for (let i = s.epoch.entries; i < MAX_SIGHTINGS.host; i++) s.hostRan(`/tmp/${i}`, 'y');
  assert.ok(!codesOf(s.judgeHost()).includes('! ima.list.oversized'));
  s.hostRan('/tmp/last', 'y');
  assert.ok(codesOf(s.judgeHost()).includes('! ima.list.oversized'));
});

test('policies: what they measure, by order', () => {
  const all = { measuresHost: true, measuresContainers: true, measuresReads: true };
  assert.deepEqual(readPolicy(imaPolicy(POOL), POOL), all);
  assert.deepEqual(readPolicy(`# comment\n\n${imaPolicy(POOL)}`, POOL), all);
  const podman = readPolicy(read('podman-good', 'policy').toString(), 65_536);
  assert.deepEqual(podman, { measuresHost: true, measuresContainers: true, measuresReads: false });
  const nothing = { measuresHost: false, measuresContainers: false, measuresReads: false };
  for (const policy of [
    '',
    'measure func=BPRM_CHECK uid=0',
    `dont_measure\n${imaPolicy(POOL)}`,
    `dont_measure fsmagic=0xef53\n${imaPolicy(POOL)}`,
  ]) {
    assert.deepEqual(readPolicy(policy, POOL), nothing, policy.slice(0, 40));
  }
  assert.equal(
    readPolicy(`measure func=BPRM_CHECK\n${imaPolicy(POOL)}`, POOL).measuresContainers,
    false,
    'the owner is lost to a rule that matches first',
  );
  assert.equal(
    readPolicy(`dont_measure func=FILE_CHECK fsname=overlay\n${imaPolicy(POOL)}`, POOL).measuresReads,
    false,
  );
});

test('command lines: an empty one says nothing', () => {
  assert.deepEqual(readCommandLine(''), readCommandLine(' '));
});

test('command lines: the last of a name wins, words for the first program do not count', () => {
  const sealed = readCommandLine(`${reference.boot.commandLines[0]} roothash=${'0'.repeat(64)}`);
  assert.deepEqual(sealed, {
    lockdown: true,
    kernelClosed: true,
    kexecDisabled: true,
    memoryClosed: true,
    rootDigestHex: '0'.repeat(64),
  });
  assert.equal(readCommandLine('lockdown=integrity lockdown=none').kernelClosed, false);
  assert.equal(readCommandLine('quiet -- lockdown=integrity').kernelClosed, false);
  assert.equal(readCommandLine('module.sig_enforce').kernelClosed, true);
  assert.equal(readCommandLine('module.sig_enforce=0').kernelClosed, false);
  assert.equal(readCommandLine('x="a lockdown=integrity"').kernelClosed, false);
  const verity = `0 8 verity 1 /dev/a /dev/a 4096 4096 1 1 sha256 ${'1'.repeat(64)} -`;
  const created = (value: string) => readCommandLine(`dm-mod.create="${value}"`).rootDigestHex;
  assert.equal(created(`root,,,ro,${verity}`), '1'.repeat(64));
  for (const other of [
    `root,,,rw,${verity}`,
    `root,,,ro,${verity},8 8 linear /dev/b 0`,
    `verity,,,ro,0 8 linear /dev/b 0`,
  ])
    assert.equal(created(other), undefined, other);
  assert.equal(readCommandLine('roothash=none').rootDigestHex, undefined);
});

test('what nodes with shim and GRUB, or of SHA-384, need survives the wire too', () => {
  const [short, long] = [new Uint8Array(32).fill(1), new Uint8Array(48).fill(2)];
  const { host } = scene();
  const components = [
    { name: 'shim', pcr: 4, sha256: [short], sha384: [], required: true },
    { name: 'grub', pcr: 14, sha256: [], sha384: [long, long], required: false },
  ];
  const sha384 = { kernels: [long], initrds: [long], pcrs: new Map([[0, [long]]]) };
  const full = { ...host, boot: { ...host.boot, components, secureBoot: true, sha384 } };
  const message = hostReferenceMessage(full);
  const again = hostReferenceOf(message, [...host.files]);
  assert.deepEqual(again.boot, full.boot);
  assert.equal(again.files.size, host.files.size);
  const [shim] = message.components;
  assert.ok(shim);
  const faults: [why: string, components: (typeof shim)[]][] = [
    ['no name', [{ ...shim, name: '' }]],
    ['which no quote covers', [{ ...shim, pcr: 11 }]],
    ['missing or too short', [{ ...shim, sha256: [new Uint8Array(31)] }]],
    ['missing or too short', [{ ...shim, sha384: [new Uint8Array(32)] }]],
    ['missing or too short', [{ ...shim, sha256: [] }]],
    ['more than 1024', Array.from({ length: 1025 }, () => shim)],
  ];
  for (const [why, components] of faults)
    assert.throws(() => bootReferenceOf({ ...message, components }), {
      code: 'appraisal.host.malformed',
      message: new RegExp(why),
    });
  assert.equal(
    bootReferenceOf({ ...message, components: Array.from({ length: 1024 }, () => shim) }).components?.length,
    1024,
  );
  for (const change of [{ kernels: [short] }, { initrds: [short] }]) {
    const bank = hostReferenceMessage({ ...full, boot: { ...full.boot, sha384: { ...sha384, ...change } } });
    assert.throws(() => bootReferenceOf(bank), { code: 'appraisal.host.malformed' });
  }
  const pinned = hostReferenceMessage({
    ...full,
    boot: { ...full.boot, sha384: { ...sha384, pcrs: new Map([[0, [short]]]) } },
  });
  assert.throws(() => bootReferenceOf(pinned), { code: 'appraisal.host.malformed' });
});

test('reference values of a host survive the wire, and are refused where they contradict themselves', () => {
  const host = scene().host;
  const again = hostReferenceOf(hostReferenceMessage(host), host.files);
  assert.deepEqual({ ...again, files: again.files.encode() }, { ...host, files: host.files.encode() });
  const message = hostReferenceMessage(host);
  for (const change of [
    { name: '' },
    { fileCount: 1n },
    { nextInit: '/absent' },
    { kernelSha256: [new Uint8Array(31)] },
  ]) {
    assert.throws(() => hostReferenceOf({ ...message, ...change }, host.files), { code: 'appraisal.host.malformed' });
  }
});
