import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { toHex } from '../bytes/hex.ts';
import type { PcrBank } from '../tpm/constants.ts';
import type { BootReference } from './boot-reference.ts';
import { commandLineDigest } from './command-line.ts';
import { secureBootVariable } from './efi-variable.ts';
import { type BootEvent, parseEventLog } from './event-log.ts';
import { type LearntBoot, learnBoot } from './learn-boot.ts';
import { matchBoot } from './match-boot.ts';
import { bankOf, type ReplayedBoot, replayEventLog } from './replayed-boot.ts';

const EV = { separator: 4, tag: 6, ipl: 0xd, variable: 0x8000_0001, application: 0x8000_0003 } as const;
const SEPARATOR = new Uint8Array(4);
const GRUB_LINE = '/vmlinuz root=/dev/sda2 ro';
const KERNEL_LINE = 'root=/dev/sda2 ro lockdown=integrity';

/** An event with digests of both banks, of `hashed`. */
function event(pcr: number, type: number, data: Uint8Array | string, hashed: Uint8Array | string = data): BootEvent {
  const digest = (bank: PcrBank) => new Uint8Array(createHash(bank).update(hashed).digest());
  const digests = { sha256: digest('sha256'), sha384: digest('sha384') };
  return { index: 0, pcr, type, typeName: 'EV', digests, data: new Uint8Array(Buffer.from(data)) };
}

const numbered = (events: readonly BootEvent[]) => events.map((each, index) => ({ ...each, index }));

/** shim, GRUB, and a kernel that measures its own command line: what a distribution boots with Secure Boot. */
const CHAIN: readonly BootEvent[] = [
  event(0, 8, 'firmware'),
  event(7, EV.variable, secureBootVariable(true)),
  event(7, EV.separator, SEPARATOR),
  event(4, EV.separator, SEPARATOR),
  event(4, EV.application, 'shim'),
  event(14, EV.ipl, 'MokList\0', 'keys of the owner'),
  event(4, EV.application, 'grub'),
  event(9, EV.ipl, '/grub.cfg\0', 'set root'),
  event(8, EV.ipl, 'grub_cmd: linux /vmlinuz\0', 'linux /vmlinuz'),
  event(9, EV.ipl, '/vmlinuz\0', 'kernel file'),
  event(4, EV.application, 'kernel'),
  event(8, EV.ipl, `kernel_cmdline: ${GRUB_LINE}\0`, GRUB_LINE),
  event(9, EV.ipl, '/initrd\0', 'initrd'),
  event(9, EV.tag, Buffer.from('ed223b8f00000000', 'hex'), Buffer.from(`${KERNEL_LINE}\0`, 'utf16le')),
  event(9, EV.tag, Buffer.from('ec223b8f00000000', 'hex'), 'initrd'),
];

function replay(events: readonly BootEvent[], bank: PcrBank = 'sha256'): ReplayedBoot {
  return replayEventLog(numbered(events), bank);
}

function referenceOf({ bank }: ReplayedBoot, learnt: LearntBoot): BootReference {
  const { kernels, initrds, commandLines, components, pcrs, secureBoot } = learnt;
  const common = { commandLines, components, secureBoot };
  if (bank === 'sha384') {
    return { ...common, kernelSha256: [], initrdSha256: [], pcrs: new Map(), sha384: { kernels, initrds, pcrs } };
  }
  return { ...common, kernelSha256: kernels, initrdSha256: initrds, pcrs };
}

function learnt(bank: PcrBank = 'sha256'): BootReference {
  const boot = replay(CHAIN, bank);
  return referenceOf(boot, learnBoot(boot, ['quiet', KERNEL_LINE]));
}

const codes = (events: readonly BootEvent[], reference: BootReference, bank: PcrBank = 'sha256') =>
  matchBoot(replay(events, bank), reference).findings.map(({ code }) => code);

for (const bank of ['sha256', 'sha384'] as const) {
  test(`a boot by shim and GRUB is accepted by what was learnt of it (${bank})`, () => {
    const reference = learnt(bank);
    const { findings, commandLine, kernelSha256Hex } = matchBoot(replay(CHAIN, bank), reference);
    assert.deepEqual(findings, []);
    assert.equal(commandLine, KERNEL_LINE, "the kernel's own word comes before GRUB's");
    assert.equal(kernelSha256Hex, createHash(bank).update('kernel').digest('hex'));
    assert.deepEqual(reference.commandLines, [KERNEL_LINE, GRUB_LINE]);
    assert.equal(reference.secureBoot, true);
    assert.deepEqual(
      reference.components?.map(({ name, pcr, required }) => [name, pcr, required]),
      [
        ['EV', 4, true],
        ['EV', 4, true],
        ['grub_cmd: linux /vmlinuz', 8, false],
        ['/grub.cfg', 9, false],
        ['/vmlinuz', 9, false],
        ['MokList', 14, false],
      ],
    );
  });
}

test('a component that was measured more than once is learnt once, with each of its values', () => {
  const again = [event(9, EV.ipl, '/grub.cfg\0', 'set root'), event(9, EV.ipl, '/grub.cfg\0', 'another menu')];
  const { components } = learnBoot(replay([...CHAIN.slice(0, 8), ...again, ...CHAIN.slice(8)]), [KERNEL_LINE]);
  const menus = components.filter(({ name }) => name === '/grub.cfg');
  assert.deepEqual(
    menus.map(({ sha256 }) => sha256.map(toHex)),
    [['set root', 'another menu'].map((text) => createHash('sha256').update(text).digest('hex'))],
  );
});

test('a boot of one bank is not accepted by values of the other', () => {
  assert.ok(codes(CHAIN, learnt('sha256'), 'sha384').includes('boot.kernel.unknown'));
  assert.ok(codes(CHAIN, learnt('sha384'), 'sha256').includes('boot.kernel.unknown'));
});

const at = (pcr: number, text: string) =>
  CHAIN.findIndex((each) => each.pcr === pcr && Buffer.from(each.data).toString().includes(text));
const attacks: readonly (readonly [string, readonly BootEvent[], readonly string[]])[] = [
  ['another shim', CHAIN.with(at(4, 'shim'), event(4, EV.application, 'evil')), ['boot.kernel.unknown']],
  ['GRUB started twice', [...CHAIN, event(4, EV.application, 'grub')], ['boot.component.several']],
  ['another grub.cfg', CHAIN.with(at(9, '/grub.cfg'), event(9, EV.ipl, '/grub.cfg\0', 'x')), ['boot.initrd.unknown']],
  ['another GRUB command', [...CHAIN, event(8, EV.ipl, 'grub_cmd: x\0', 'insmod evil')], ['boot.pcr.unexpected']],
  [
    "another command line by GRUB, under the good one's text",
    CHAIN.with(at(8, 'kernel_cmdline'), event(8, EV.ipl, `kernel_cmdline: ${GRUB_LINE}\0`, 'init=/bin/sh')),
    ['boot.pcr.unexpected'],
  ],
  ['another MokList', CHAIN.with(at(14, 'Mok'), event(14, EV.ipl, 'MokList\0', 'x')), ['boot.pcr.unexpected']],
  ["GRUB's line twice", [...CHAIN, event(8, EV.ipl, 'x', GRUB_LINE)], ['boot.cmdline.several']],
  [
    'Secure Boot off',
    CHAIN.with(1, event(7, EV.variable, secureBootVariable(false))),
    ['boot.secureboot.off', 'boot.pcr.unexpected'],
  ],
  [
    'Secure Boot switched off later, logged as what it is not',
    [...CHAIN, event(7, EV.separator, '', secureBootVariable(false))],
    ['boot.secureboot.off', 'boot.pcr.unexpected'],
  ],
  [
    'the good variable as data, another one in the digest',
    CHAIN.with(1, event(7, EV.variable, secureBootVariable(true), 'x')),
    ['boot.secureboot.off', 'boot.pcr.unexpected'],
  ],
  ['no Secure Boot variable', CHAIN.filter(({ pcr }) => pcr !== 7), ['boot.secureboot.off', 'boot.pcr.unexpected']],
];
for (const [name, events, expected] of attacks) {
  test(`refused: ${name}`, () => {
    const found = codes(events, learnt());
    for (const code of expected)
      assert.ok(
        found.some((each) => each === code),
        found.join(),
      );
  });
}

test('a component that is required and missing is a finding; one that is not required may be missing', () => {
  const reference = learnt();
  assert.deepEqual(codes(CHAIN.toSpliced(at(9, '/grub.cfg'), 1), reference), []);
  const required = (reference.components ?? []).map((each) => ({ ...each, required: true }));
  const found = codes(CHAIN.toSpliced(at(9, '/grub.cfg'), 1), { ...reference, components: required });
  assert.deepEqual(found, ['boot.component.missing']);
});

test('a kernel that its loader measures twice is one; two kernels are two', () => {
  const kernel = event(4, EV.application, 'kernel');
  assert.deepEqual(codes([...CHAIN, kernel], learnt()), []);
  const other = event(4, EV.application, 'other kernel');
  const reference = learnt();
  const both = { ...reference, kernelSha256: [...reference.kernelSha256, other.digests.sha256 ?? new Uint8Array()] };
  assert.deepEqual(codes([...CHAIN, other], both), ['boot.kernel.several']);
});

test('a unified kernel image: the command line is in PCR 12, and the kernel inside is started from PCR 4', () => {
  const line = 'rd.luks=1 quiet';
  const events = [
    event(0, 8, 'firmware'),
    event(4, EV.application, 'uki'),
    event(12, EV.ipl, Buffer.from(`${line}\0`, 'utf16le')),
    event(4, EV.application, 'kernel inside'),
    event(9, EV.tag, 'x', 'initrd'),
  ];
  const boot = replay(events);
  const reference = referenceOf(boot, learnBoot(boot));
  const match = matchBoot(boot, reference);
  assert.deepEqual(match.findings, []);
  assert.equal(match.commandLine, line);
  const added = [...events, event(12, EV.ipl, 'x', 'credential')];
  assert.deepEqual(codes(added, reference), ['boot.pcr.unexpected']);
});

test('a command line is kept only where its digest was measured', () => {
  const boot = replay(CHAIN);
  assert.deepEqual(learnBoot(boot).commandLines, [GRUB_LINE]);
  assert.deepEqual(learnBoot(boot, ['root=/dev/sdb', KERNEL_LINE, KERNEL_LINE]).commandLines, [KERNEL_LINE, GRUB_LINE]);
  const claimed = CHAIN.with(at(8, 'kernel_cmdline'), event(8, EV.ipl, `kernel_cmdline: ${GRUB_LINE}\0`, 'other'));
  assert.deepEqual(learnBoot(replay(claimed)).commandLines, [], 'text that no digest confirms');
});

test("a confirmed text that is not in GRUB's form is no command line", () => {
  const boot = replay([...CHAIN, event(8, EV.ipl, 'kernel_cmdline=a')]);
  assert.deepEqual(learnBoot(boot).commandLines, [GRUB_LINE]);
});

test('a command of GRUB that speaks of a command line is none', () => {
  const events = [...CHAIN, event(8, EV.ipl, 'grub_cmd: echo kernel_cmdline: x\0', 'echo kernel_cmdline: x')];
  assert.deepEqual(learnBoot(replay(events)).commandLines, [GRUB_LINE]);
});

test('what firmware says of its next step is no program in PCR 4, and something measured in any other', () => {
  const action = 'Calling EFI Application from Boot Option';
  const events = [...CHAIN, event(4, 7, action), event(9, EV.separator, SEPARATOR), event(13, EV.ipl, action)];
  const [before, after] = [CHAIN, events].map((each) => learnBoot(replay(each)));
  assert.deepEqual(after?.kernels, before?.kernels);
  assert.deepEqual(after?.initrds, before?.initrds);
  const named = (learnt?: LearntBoot) => learnt?.components.map(({ pcr, name }) => `${pcr} ${name}`) ?? [];
  assert.deepEqual(
    named(after).filter((name) => !named(before).includes(name)),
    [`13 ${action}`],
  );
});

test('PCRs of firmware are pinned, and what others hold is named', () => {
  const events = Array.from({ length: 15 }, (_, pcr) => event(pcr, EV.ipl, `in ${pcr}\0`));
  const boot = replay(events);
  const { kernels, initrds, components, pcrs } = learnBoot(boot);
  assert.deepEqual(
    [...pcrs],
    [0, 2, 3, 7].map((pcr) => [pcr, [boot.pcr(pcr)]]),
  );
  assert.deepEqual(
    [kernels, initrds],
    [4, 9].map((pcr) => boot.eventDigests(pcr)),
  );
  assert.deepEqual(
    components.map(({ pcr, name }) => [pcr, name]),
    [8, 10, 12, 13, 14].map((pcr) => [pcr, `in ${pcr}`]),
  );
});

test('a command line in UTF-16 ends in one zero, whatever it holds before', () => {
  const line = 'quiet\0init=/bin/sh';
  const { commandLines } = learnBoot(replay([event(12, EV.ipl, Buffer.from(`${line}\0`, 'utf16le'))]));
  assert.deepEqual(commandLines, [line]);
});

test('a component has 120 characters of what was measured as its name', () => {
  const { components } = learnBoot(replay([event(8, EV.ipl, `${'x'.repeat(121)}\0`)]));
  assert.deepEqual(
    components.map(({ name }) => name),
    ['x'.repeat(120)],
  );
});

test('a boot that loads an initrd and starts no program has an initrd alone', () => {
  const { kernels, initrds } = learnBoot(replay([event(0, 8, 'x'), event(9, EV.tag, 'x', 'initrd')]));
  assert.deepEqual([kernels.length, initrds.length], [0, 1]);
});

test('nothing is learnt of a boot that measured nothing', () => {
  const { kernels, initrds, commandLines, components, secureBoot } = learnBoot(replay([event(0, 8, 'x')]));
  assert.deepEqual([kernels, initrds, commandLines, components, secureBoot], [[], [], [], [], false]);
});

test('what firmware says that it does is no program, and in another PCR than 4 it is no announcement', () => {
  const says = 'Calling EFI Application from Boot Option';
  const parts = [8, 9, 10, 12, 13, 14].map((pcr) => event(pcr, EV.ipl, `part of ${pcr}`));
  const events = [
    event(4, EV.application, 'kernel'),
    event(4, EV.ipl, says),
    event(8, EV.ipl, says),
    ...parts,
    event(9, EV.tag, 'x', 'initrd'),
  ];
  const { kernels, components, pcrs } = learnBoot(replay(events));
  assert.deepEqual(kernels.map(toHex), [createHash('sha256').update('kernel').digest('hex')]);
  assert.deepEqual(
    components.map(({ name }) => name),
    [says, ...[8, 9, 10, 12, 13, 14].map((pcr) => `part of ${pcr}`)],
  );
  assert.deepEqual([...pcrs.keys()], [0, 2, 3, 7]);
});

test("a command of GRUB is no command line, a line may hold a zero, and a component's name has 120 characters", () => {
  const command = event(8, EV.ipl, 'grub_cmd: kernel_cmdline\0', 'kernel_cmdline');
  const line = event(12, EV.ipl, Buffer.from('a\0b\0', 'utf16le'));
  const { commandLines, components } = learnBoot(replay([command, line, event(14, EV.ipl, 'n'.repeat(121))]));
  assert.deepEqual(commandLines, ['a\0b']);
  assert.deepEqual(
    components.map(({ name }) => name),
    ['grub_cmd: kernel_cmdline', 'n'.repeat(120)],
  );
});

const logs = fileURLToPath(new URL('../../../shared/data/eventlogs', import.meta.url));
const skip = existsSync(logs) ? false : 'the event logs of other machines are not here (shared/data)';

test('logs of real machines are accepted by what was learnt of them, and not by what was learnt of others', {
  skip,
}, () => {
  const boots = globSync(`${logs}/*.bin`).flatMap((path) => {
    const events = parseEventLog(readFileSync(path));
    const has = events.some(({ digests, pcr }) => pcr === 4 && digests.sha256 !== undefined);
    return has ? [{ name: basename(path), boot: replayEventLog(events, bankOf(events)) }] : [];
  });
  assert.ok(boots.length >= 4);
  for (const one of boots) {
    const reference = referenceOf(one.boot, learnBoot(one.boot));
    for (const other of boots) {
      const fatal = matchBoot(other.boot, reference).findings.filter((finding) => finding.fatal);
      const rest = fatal.filter(({ code }) => code !== 'boot.cmdline.missing' && code !== 'boot.cmdline.unknown');
      if (other === one) assert.deepEqual(rest, [], one.name);
      else assert.ok(rest.length > 0, `${other.name} by ${one.name}`);
    }
  }
});

test('the command lines that GRUB logged on real machines are confirmed', { skip }, () => {
  const lines = ['rhel8-uefi', 'cos-101-amd-sev'].map((name) => {
    const events = parseEventLog(readFileSync(`${logs}/${name}.bin`));
    return learnBoot(replayEventLog(events)).commandLines;
  });
  assert.match(lines[0]?.[0] ?? '', /^\(hd0,gpt2\)\/boot\/vmlinuz-4\.18/);
  assert.match(lines[1]?.[0] ?? '', /^\/syslinux\/vmlinuz\.A init=/);
});

test('the digest of a command line is of UTF-16 with its zero, in the bank asked for', () => {
  const expected = createHash('sha384').update(Buffer.from('a\0', 'utf16le')).digest('hex');
  assert.equal(toHex(commandLineDigest('a', 'sha384')), expected);
});
