import assert from 'node:assert/strict';
import { test } from 'node:test';
import { imaPolicy } from '../ima/policy.ts';
import type { NodeObservation } from '../proto/lacre/v1/record_pb.ts';
import { EpochAppraisal } from './epoch-appraisal.ts';
import { toldFinding } from './finding.ts';
import { type GradeInput, gradeHost, gradeLoss } from './host-grade.ts';
import type { HostReference } from './reference/host-reference.ts';
import { CLOSED_NODE } from './sample-fixture.ts';
import { digestHex, filesOf, POOL, SILENT_NODE } from './scene-fixture.ts';
import type { EntryOwner, Measured } from './sighting.ts';

const ROOT = 'a0'.repeat(32);
const LOCKDOWN = 'lockdown=integrity';
const KEXEC = 'sysctl.kernel.kexec_load_disabled=1';
const PTRACE = 'sysctl.kernel.yama.ptrace_scope=3';
const LINE = `${LOCKDOWN} ${KEXEC} ${PTRACE} roothash=${ROOT}`;
const TOOL = toldFinding('appraisal.tool.present', 'host', 'a shell');

const table = (digest: string, more = '') =>
  Buffer.from(
    `num_targets=1;target_begin=0,target_name=verity,hash_failed=V,verity_algorithm=sha256,root_digest=${digest}${more};`,
  );

interface Entry extends Partial<Measured> {
  readonly owner?: EntryOwner;
}
const TABLE: Entry = { path: 'dm_table_load', kind: 'buffer', buffer: table(ROOT) };
const INIT: Entry = { path: '/sbin/init' };
const SEALED: readonly Entry[] = [TABLE, INIT];
const AGENT: Entry = { path: '/usr/bin/agent' };
const STRAY: Entry = { path: '/x', owner: { kind: 'unattributed' } };

function epochOf(entries: readonly Entry[]): EpochAppraisal {
  const epoch = new EpochAppraisal();
  for (const [index, { owner = { kind: 'host' as const }, path = '/', ...more }] of entries.entries()) {
    const fileDigest = { algorithm: 'sha256', hex: digestHex(more.buffer?.toString() ?? path) };
    const usual = { pcr: 10, template: 'ima-sig', kind: 'file', digestState: 'usable' as const };
    epoch.feed({ ...usual, index, path, fileDigest, violation: false, iuid: undefined, ...more }, owner);
  }
  return epoch;
}

function referenceOf(change: Partial<HostReference> = {}): HostReference {
  const boot = { kernelSha256: [], initrdSha256: [], commandLines: [], pcrs: new Map([[0, [new Uint8Array(32)]]]) };
  const files = filesOf({ '/sbin/init': '/sbin/init', '/usr/bin/agent': '/usr/bin/agent' });
  return { name: 'x', boot, policy: imaPolicy(POOL), uidPoolBase: POOL, nextInit: '/sbin/init', files, ...change };
}

interface Change {
  readonly line?: string | undefined;
  readonly complete?: boolean;
  readonly entries?: readonly Entry[];
  readonly observation?: Partial<NodeObservation>;
  readonly tools?: GradeInput['tools'];
  readonly reference?: Partial<HostReference>;
}

function grade(change: Change): ReturnType<typeof gradeHost> {
  return gradeHost({
    reference: referenceOf(change.reference),
    bank: 'sha256',
    match: { commandLine: 'line' in change ? change.line : LINE, complete: change.complete ?? true },
    epoch: epochOf(change.entries ?? SEALED),
    observation: { ...CLOSED_NODE, ...change.observation },
    tools: change.tools ?? [],
  });
}

const OPEN_MEMORY = ['appraisal.memory.open', 'appraisal.memory.open'];
const withEntry = (...entries: Entry[]): Change => ({ entries: [...SEALED, ...entries] });
const hidden: Change['reference'] = { policy: imaPolicy(POOL).replace('measure func=MODULE_CHECK\n', '') };

/** What one change makes of a sealed host, and why. */
const CHANGES: readonly [what: string, grade: string, reasons: string[], change: Change][] = [
  ['nothing', 'sealed', [], {}],
  ['another program', 'sealed', [], withEntry(AGENT)],
  ['a container after the first program', 'sealed', [], withEntry(STRAY)],
  ['a silent node', 'sealed', [], { observation: SILENT_NODE }],
  ['a node that observes more', 'sealed', [], { observation: { lockdown: 'confidentiality', ptraceScope: 4 } }],
  ['an approved boot that was not whole', 'open', ['appraisal.policy.unproven'], { complete: false }],
  [
    'no policy',
    'open',
    ['appraisal.policy.unproven', 'appraisal.policy.weak', 'appraisal.policy.weak'],
    { reference: { policy: '' } },
  ],
  ['a policy without modules', 'open', ['appraisal.policy.weak'], { reference: hidden }],
  ['a policy of another pool', 'open', ['appraisal.policy.weak'], { reference: { uidPoolBase: POOL + 1 } }],
  [
    'no name of the first program',
    'open',
    ['appraisal.init.missing', 'appraisal.root.unverified'],
    { reference: { nextInit: '' } },
  ],
  [
    'another first program',
    'open',
    ['appraisal.init.missing', 'appraisal.root.unverified'],
    { reference: { nextInit: '/usr/bin/agent' } },
  ],
  ['no first program', 'open', ['appraisal.init.missing', 'appraisal.root.unverified'], { entries: [TABLE, AGENT] }],
  [
    'a first program with other content',
    'open',
    ['appraisal.init.missing', 'appraisal.root.unverified'],
    { entries: [TABLE, { ...INIT, fileDigest: { algorithm: 'sha256', hex: ROOT } }] },
  ],
  ['a container before the first program', 'open', ['appraisal.init.unexpected'], { entries: [STRAY, TABLE, INIT] }],
  [
    'no approved command line',
    'open',
    ['appraisal.kernel.open', ...OPEN_MEMORY, 'appraisal.root.unverified'],
    { line: undefined },
  ],
  [
    'no lockdown',
    'open',
    ['appraisal.kernel.open', 'appraisal.memory.open'],
    { line: LINE.replace(LOCKDOWN, ''), observation: { lockdown: 'none' } },
  ],
  [
    'module signatures for lockdown',
    'standard',
    ['appraisal.memory.open'],
    { line: LINE.replace(LOCKDOWN, 'module.sig_enforce') },
  ],
  [
    'kexec',
    'open',
    ['appraisal.kernel.open'],
    { line: LINE.replace(KEXEC, ''), observation: { kexecLoadDisabled: 1 } },
  ],
  [
    'ptrace',
    'standard',
    ['appraisal.memory.open'],
    { line: LINE.replace(PTRACE, ''), observation: { ptraceScope: 1 } },
  ],
  [
    'a node without lockdown against its word',
    'open',
    ['appraisal.observation.differs'],
    { observation: { lockdown: 'none' } },
  ],
  [
    'a node with kexec against its word',
    'open',
    ['appraisal.observation.differs'],
    { observation: { kexecLoadDisabled: 1 } },
  ],
  ...[1, 2, 3].map((ptraceScope): [string, string, string[], Change] => [
    `a node with ptrace_scope=${ptraceScope - 1} against its word`,
    'open',
    ['appraisal.observation.differs'],
    { observation: { ptraceScope } },
  ]),
  [
    'a file of an untrusted file system that nobody owns',
    'open',
    ['ima.filesystem.untrusted'],
    withEntry({ ...STRAY, pcr: 14 }),
  ],
  ['no root hash', 'standard', ['appraisal.root.unverified'], { line: LINE.replace(/ roothash=.*/, '') }],
  ['no table', 'standard', ['appraisal.root.unverified'], { entries: [INIT] }],
  ['a table after the first program', 'standard', ['appraisal.root.unverified'], { entries: [INIT, TABLE] }],
  ['two tables', 'sealed', [], { entries: [{ ...TABLE, buffer: table('b1'.repeat(32)) }, TABLE, INIT] }],
  [
    'the table of another tree',
    'standard',
    ['appraisal.root.unverified'],
    { entries: [{ ...TABLE, buffer: table('b1'.repeat(32)) }, INIT] },
  ],
  [
    'a table that logs',
    'standard',
    ['appraisal.root.unverified'],
    { entries: [{ ...TABLE, buffer: table(ROOT, ',verity_mode=ignore_corruption') }, INIT] },
  ],
  [
    'a table that the kernel did not measure',
    'standard',
    ['appraisal.root.unverified'],
    { entries: [{ ...TABLE, kind: 'file' }, INIT] },
  ],
  [
    'a table under another name',
    'standard',
    ['appraisal.root.unverified'],
    { entries: [{ ...TABLE, path: 'dm_device_resume' }, INIT] },
  ],
  [
    'a table without its text',
    'standard',
    ['appraisal.root.unverified'],
    { entries: [{ ...TABLE, buffer: undefined }, INIT] },
  ],
  ['a violation', 'standard', ['ima.violation'], withEntry({ path: '/v', violation: true })],
  [
    'firmware that is not pinned',
    'standard',
    ['appraisal.firmware.open'],
    { reference: { boot: { ...referenceOf().boot, pcrs: new Map([[1, []]]) } } },
  ],
  ['a tool', 'standard', ['appraisal.tool.present'], { tools: [TOOL] }],
];

for (const [what, expected, reasons, change] of CHANGES) {
  test(`host:${expected} for ${what}`, () => {
    const found = grade(change);
    assert.equal(found.grade, expected);
    assert.deepEqual(
      found.reasons.map(({ code }) => code),
      reasons,
    );
    for (const { subject, fatal } of found.reasons) assert.deepEqual([subject, fatal], ['host', false]);
  });
}

test('reasons of an entry name it', () => {
  const facts = (change: Change) => grade(change).reasons.map(({ path, logIndex }) => [path, logIndex]);
  assert.deepEqual(facts({ entries: [TABLE, STRAY, INIT] }), [[undefined, 1]]);
  assert.deepEqual(facts(withEntry(STRAY, { ...STRAY, path: '/y', pcr: 14 })), [['/y', 3]]);
  assert.deepEqual(facts(withEntry({ path: '/v', violation: true }, { path: '/w', violation: true })), [['/v', 2]]);
  const [seen] = grade({ observation: { ptraceScope: 2 } }).reasons;
  assert.equal(seen?.detail, 'the node observes kernel.yama.ptrace_scope=1, against its command line');
  const sentence = (change: Change) => grade(change).reasons.at(0)?.detail ?? '';
  assert.match(sentence({ reference: { nextInit: '' } }), /do not say what the first program/);
  assert.match(sentence({ entries: [TABLE] }), /^\/sbin\/init was not executed/);
  assert.match(sentence({ line: LINE.replace(/ roothash=.*/, '') }), /no dm-verity root hash is on/);
  assert.match(sentence({ entries: [INIT] }), /no verity table with the root hash/);
  const [several] = grade(withEntry({ path: '/v', violation: true }, { path: '/w', violation: true })).reasons;
  assert.match(several?.detail ?? '', /^2 violations/);
});

test('what takes a grade while the node runs', () => {
  const codes = (entries: readonly Entry[], tools: GradeInput['tools'] = []) => {
    const { standard, sealed } = gradeLoss(epochOf(entries), tools);
    return [standard, sealed].map((lost) => lost.map(({ code }) => code));
  };
  assert.deepEqual(codes([AGENT, STRAY]), [[], []]);
  assert.deepEqual(codes([{ ...STRAY, pcr: 14 }]), [['ima.filesystem.untrusted'], []]);
  assert.deepEqual(codes([{ path: '/v', violation: true }], [TOOL]), [[], ['ima.violation', 'appraisal.tool.present']]);
});
