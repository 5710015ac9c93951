import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { deniesUserNamespaces, parseSeccompProfile } from './seccomp-profile.ts';

const NEWUSER = 0x1000_0000;
const vector = (name: string) =>
  JSON.parse(readFileSync(new URL(`../../vectors/container/${name}.config.json`, import.meta.url), 'utf8')).linux
    .seccomp;

function denies(syscalls: unknown[], over: object = {}): boolean {
  return deniesUserNamespaces(parseSeccompProfile({ defaultAction: 'SCMP_ACT_ERRNO', syscalls, ...over }));
}

const allow = (names: string[], ...args: object[]) => ({ names, action: 'SCMP_ACT_ALLOW', args });
const without = { index: 0, value: NEWUSER, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' };

test('the profile that podman ships denies nothing; the one less CLONE_NEWUSER does', () => {
  assert.equal(deniesUserNamespaces(parseSeccompProfile(vector('sealed-6.12-web'))), false);
  assert.equal(deniesUserNamespaces(parseSeccompProfile(vector('podman-6.1-web1'))), true);
  assert.equal(deniesUserNamespaces(parseSeccompProfile(vector('podman-6.12-web2'))), true);
});

test('what denies', () => {
  assert.equal(denies([]), true);
  assert.equal(denies([allow(['unshare', 'clone'], without)]), true);
  assert.equal(denies([allow(['clone'], without, { index: 1, value: 0, op: 'SCMP_CMP_EQ' })]), true);
  assert.equal(denies([allow(['unshare'], { index: 0, value: 0x20000, op: 'SCMP_CMP_EQ' })]), true);
  assert.equal(denies([allow(['unshare'], { index: 0, value: 1, op: 'SCMP_CMP_EQ' })]), true, 'another flag alone');
  for (const end of ['ERRNO', 'KILL', 'KILL_THREAD', 'KILL_PROCESS', 'TRAP']) {
    assert.equal(denies([{ names: ['clone3'], action: `SCMP_ACT_${end}` }]), true, end);
    assert.equal(denies([], { defaultAction: `SCMP_ACT_${end}` }), true, end);
  }
});

test('one rule that may let a call through is enough', () => {
  assert.equal(denies([], { defaultAction: 'SCMP_ACT_ALLOW' }), false);
  assert.equal(denies([], { defaultAction: 'SCMP_ACT_LOG' }), false);
  assert.equal(denies([], { defaultAction: '' }), false);
  for (const name of ['unshare', 'clone', 'clone3']) assert.equal(denies([allow([name])]), false, name);
  for (const action of ['SCMP_ACT_TRACE', 'SCMP_ACT_NOTIFY', 'SCMP_ACT_LOG', 'SCMP_ACT_NEW']) {
    assert.equal(denies([{ names: ['unshare'], action }]), false, action);
  }
  const loose = [
    { ...without, valueTwo: NEWUSER },
    { ...without, value: 0x20000 },
    { ...without, value: 1 },
    { ...without, value: -1 },
    { ...without, index: 1 },
    { ...without, value: 2 ** 60 },
    { index: 0, value: NEWUSER, op: 'SCMP_CMP_EQ' },
    { index: 0, value: NEWUSER, op: 'SCMP_CMP_NE' },
    { index: 0, value: 0, op: 'SCMP_CMP_GE' },
  ];
  for (const argument of loose) assert.equal(denies([allow(['unshare'], argument)]), false, JSON.stringify(argument));
});

test('flags behind a pointer can not be filtered: clone3 must not be allowed under any condition', () => {
  assert.equal(denies([allow(['clone3'], without)]), false);
});

test('two conditions on one argument are alternatives: both must exclude', () => {
  assert.equal(denies([allow(['unshare'], without, { index: 0, value: 0, op: 'SCMP_CMP_GE' })]), false);
  assert.equal(denies([allow(['unshare'], without, { index: 0, value: 0x20000, op: 'SCMP_CMP_EQ' })]), true);
});

test('where the flags of clone stand elsewhere, nothing is known to be denied', () => {
  assert.equal(denies([allow(['clone'], without)], { architectures: ['SCMP_ARCH_S390X'] }), false);
});

test('a condition without an index is on the first argument; one whose index is no number excludes nothing', () => {
  const { index: _, ...first } = without;
  assert.equal(denies([allow(['unshare'], first)]), true);
  assert.equal(denies([allow(['unshare'], { ...without, index: '0' })]), false);
  assert.equal(denies([allow(['unshare'], { ...without, value: '268435456' })]), false);
  assert.equal(denies([allow(['unshare'], { ...without, valueTwo: -1 })]), false);
  assert.equal(denies([allow(['unshare'], { index: 0, op: 'SCMP_CMP_EQ' })]), true, 'a value left out is 0');
});

test('a condition is read as it stands; what JSON does not carry exactly is not known', () => {
  const read = (argument: object) => parseSeccompProfile({ syscalls: [allow(['read'], argument)] }).rules[0]?.args[0];
  assert.deepEqual(read({}), { index: 0, op: '', value: 0n, valueTwo: 0n });
  assert.deepEqual(read({ ...without, index: 2 }), { index: 2, op: without.op, value: BigInt(NEWUSER), valueTwo: 0n });
  assert.equal(read({ index: '0' })?.index, -1);
  assert.equal(read({ value: Number.MAX_SAFE_INTEGER })?.value, 2n ** 53n - 1n);
  for (const value of [-1, 0.5, 2 ** 53, '1', null, true]) assert.equal(read({ value })?.value, undefined, `${value}`);
});

test('a profile nested deeper than it can be hashed is malformed', () => {
  const nested = JSON.parse(`${'['.repeat(200_000)}${']'.repeat(200_000)}`);
  assert.throws(() => parseSeccompProfile({ more: nested }), { code: 'container.proc.malformed' });
});

test('the hash is over the profile as compact JSON', () => {
  const { sha256 } = parseSeccompProfile({ defaultAction: 'SCMP_ACT_ERRNO', syscalls: [] });
  const text = '{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[]}';
  assert.equal(Buffer.from(sha256).toString('hex'), createHash('sha256').update(text).digest('hex'));
});

test('a profile with too many rules, or of another form, is no denial', () => {
  assert.equal(denies(Array.from({ length: 4096 }, () => allow(['read']))), true);
  assert.equal(denies(Array.from({ length: 4097 }, () => allow(['read']))), false);
  for (const value of [null, [], 'x', { syscalls: {} }, { syscalls: [1] }, { syscalls: [{ names: [1] }] }]) {
    assert.throws(() => parseSeccompProfile(value), { code: 'container.proc.malformed' }, JSON.stringify(value));
  }
  const more = [...Array.from({ length: 4097 }, () => allow(['read'])), 'not read'];
  assert.equal(denies(more), false, 'rules over the bound are not looked at');
});

test('a refusal says what is malformed', () => {
  const rule = (over: object) => ({ syscalls: [over] });
  for (const [value, what] of [
    [1, 'linux.seccomp is not an object'],
    [{ syscalls: {} }, 'linux.seccomp.syscalls is not a list'],
    [{ defaultAction: 1 }, 'linux.seccomp.defaultAction is not a text'],
    [{ architectures: [1] }, 'linux.seccomp.architectures is not a text'],
    [rule([]), 'a seccomp rule is not an object'],
    [rule({ names: 1 }), 'names of a seccomp rule is not a list'],
    [rule({ action: 1 }), 'action of a seccomp rule is not a text'],
    [rule({ args: 1 }), 'args of a seccomp rule is not a list'],
    [rule({ args: [1] }), 'an argument of a seccomp rule is not an object'],
    [rule({ args: [{ op: 1 }] }), 'op of a seccomp rule is not a text'],
  ] as const)
    assert.throws(() => parseSeccompProfile(value), { code: 'container.proc.malformed', message: what });
});
