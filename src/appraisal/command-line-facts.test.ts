import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readCommandLine } from './command-line-facts.ts';

const HASH = 'a0'.repeat(32);

/** What a command line closes, by name. */
function closed(line: string): string[] {
  return Object.entries(readCommandLine(line)).flatMap(([name, value]) => (value ? [name] : []));
}

const LINES: readonly [line: string, closed: string[]][] = [
  ['', []],
  ['quiet ro', []],
  ['lockdown=integrity', ['kernelClosed', 'lockdown']],
  ['lockdown=confidentiality', ['kernelClosed', 'lockdown']],
  ['lockdown="integrity"', ['kernelClosed', 'lockdown']],
  ['\tlockdown=integrity\tquiet', ['kernelClosed', 'lockdown']],
  ...['lockdown', 'lockdown=', 'lockdown=none', 'lockdown=integrity2', 'xlockdown=integrity'].map(
    (line): [string, string[]] => [line, []],
  ),
  ...['', '=', '=1', '=y', '=Y'].map((value): [string, string[]] => [`module.sig_enforce${value}`, ['kernelClosed']]),
  ['module.sig-enforce=1', ['kernelClosed']],
  ['module.sig_enforce=n', []],
  ['module.sig_enforce=0', []],
  ['sysctl.kernel.kexec_load_disabled=1', ['kexecDisabled']],
  ['sysctl.kernel.kexec_load_disabled=0', []],
  ['sysctl.kernel.yama.ptrace_scope=3', ['memoryClosed']],
  ['sysctl.kernel.yama.ptrace_scope=2', []],
  [`roothash=${HASH}`, ['rootDigestHex']],
];

for (const [line, expected] of LINES) {
  test(`command line ${JSON.stringify(line)}`, () => assert.deepEqual(closed(line).sort(), expected));
}

test('quotes hold spaces together, to the end of the line where they are not closed', () => {
  const kexec = 'sysctl.kernel.kexec_load_disabled=1';
  assert.deepEqual(closed(`x="a ${kexec}"`), []);
  assert.deepEqual(closed(`x="a ${kexec}`), []);
  assert.deepEqual(closed(`x="a" ${kexec}`), ['kexecDisabled']);
  assert.deepEqual(closed(`x="" ${kexec}`), ['kexecDisabled']);
  assert.deepEqual(closed(`-- ${kexec}`), []);
});

test('a root hash is 64 digits of lower-case hex', () => {
  assert.equal(readCommandLine(`roothash=${HASH}`).rootDigestHex, HASH);
  for (const other of ['', HASH.slice(1), `${HASH}0`, `x${HASH}`, HASH.toUpperCase()])
    assert.equal(readCommandLine(`roothash=${other}`).rootDigestHex, undefined, other);
});

const created = (device: string) => readCommandLine(`dm-mod.create="${device}"`).rootDigestHex;
const TABLE = `0 16 verity 1 /dev/vda /dev/vdb 4096 4096 12 13 sha256 ${HASH} -`;

test('dm-mod.create: one read-only device of one verity table', () => {
  for (const device of [
    `root,,,ro,${TABLE}`,
    `root,01-ab,3,ro,${TABLE}`,
    `,,,ro,${TABLE}`,
    `root,,,ro,${TABLE.replace(/-$/, '')}`,
    `root,,,ro,${TABLE} 1 panic_on_corruption`,
  ])
    assert.equal(created(device), HASH, device);
  const words = TABLE.split(' ');
  // Each word of the table left empty; the last one, the salt, is not asked.
  for (const at of words.slice(0, -1).keys()) {
    const device = `root,,,ro,${words.with(at, '').join(' ')}`;
    assert.equal(created(device), undefined, device);
  }
  for (const device of [
    `root,,,rw,${TABLE}`,
    `root,,,ro,${TABLE.replace(/^0/, '8')}`,
    `root,,,ro,${TABLE.replace('verity', 'linear')}`,
    `root,,,ro,${TABLE.replace('sha256', 'sha1')}`,
    `root,,,ro,${TABLE},16 8 linear /dev/vdc 0`,
    `root,,,ro,${TABLE};swap,,,ro,0 8 linear /dev/vdc 0`,
    `swap,,,ro,0 8 linear /dev/vdc 0;root,,,ro,${TABLE}`,
  ])
    assert.equal(created(device), undefined, device);
});
