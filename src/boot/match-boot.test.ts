import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { bootEvents, type SimulatedEvent, writeEventLog } from '../../test/simulator/event-log.ts';
import { fromHex, toHex } from '../bytes/hex.ts';
import { sha256 } from '../bytes/sha256.ts';
import { BOOT_FINDINGS } from './boot-finding.ts';
import { commandLineDigest } from './command-line.ts';
import { parseEventLog } from './event-log.ts';
import { type BootMatch, type BootReference, matchBoot } from './match-boot.ts';
import { replayEventLog } from './replayed-boot.ts';

const KERNEL = new Uint8Array(32).fill(1);
const INITRD = new Uint8Array(32).fill(2);
const EVIL = new Uint8Array(32).fill(0xee);
const LINE = 'root=/dev/vda quiet initrd=initrd';
const GOOD = bootEvents({ kernelSha256: KERNEL, initrdSha256: INITRD, commandLine: LINE, firmware: 'F' });
const KERNEL_AT = GOOD.findIndex(({ sha256: digest }) => digest === KERNEL);
const LINE_AT = GOOD.findIndex(({ pcr }) => pcr === 9);
const INITRD_AT = GOOD.findIndex(({ sha256: digest }) => digest === INITRD);

const replay = (events: readonly SimulatedEvent[]) => replayEventLog(parseEventLog(writeEventLog(events)));
const REFERENCE: BootReference = {
  kernelSha256: [new Uint8Array(32).fill(9), KERNEL],
  initrdSha256: [INITRD],
  commandLines: ['other', LINE],
  pcrs: new Map([0, 2, 3, 7].map((pcr) => [pcr, [EVIL, replay(GOOD).pcr(pcr)]])),
};

function codes(match: BootMatch): string[] {
  return match.findings.map(({ code }) => code);
}

function match(events: readonly SimulatedEvent[], reference: Partial<BootReference> = {}): BootMatch {
  return matchBoot(replay(events), { ...REFERENCE, ...reference });
}

const extra = (pcr: number, digest: Uint8Array, type = 6, data: Uint8Array = new Uint8Array()): SimulatedEvent => ({
  pcr,
  type,
  sha256: digest,
  data,
});

test('an approved boot has no findings, and names what it was started with', () => {
  assert.deepEqual(match(GOOD), {
    findings: [],
    commandLine: LINE,
    kernelSha256Hex: toHex(KERNEL),
    initrdSha256Hex: toHex(INITRD),
  });
});

const evilLine = extra(9, commandLineDigest('init=/bin/sh'), 6, GOOD[LINE_AT]?.data ?? new Uint8Array());
const wrong: readonly (readonly [string, readonly SimulatedEvent[], readonly string[]])[] = [
  ['another kernel', GOOD.with(KERNEL_AT, extra(4, EVIL, 0x80000003)), ['boot.kernel.unknown', 'boot.kernel.missing']],
  ['a second, unknown kernel', [...GOOD, extra(4, EVIL, 0x80000003)], ['boot.kernel.unknown']],
  ['an unknown kernel logged as separator', [...GOOD, extra(4, EVIL, 4)], ['boot.kernel.unknown']],
  [
    'an unknown kernel logged as action',
    [...GOOD, extra(4, EVIL, 0x80000007, Buffer.from('Calling EFI Application from Boot Option'))],
    ['boot.kernel.unknown'],
  ],
  ['the approved kernel twice', [...GOOD, extra(4, KERNEL, 0x80000003)], ['boot.kernel.several']],
  ['no kernel, but what only a kernel measures', GOOD.toSpliced(KERNEL_AT, 1), ['boot.kernel.missing']],
  ['another command line', GOOD.with(LINE_AT, evilLine), ['boot.cmdline.unknown', 'boot.cmdline.missing']],
  ['a second command line', [...GOOD, evilLine], ['boot.cmdline.unknown']],
  ['the approved command line twice', [...GOOD, extra(9, commandLineDigest(LINE))], ['boot.cmdline.several']],
  ['no command line', GOOD.toSpliced(LINE_AT, 1), ['boot.cmdline.missing']],
  ['another initrd', GOOD.with(INITRD_AT, extra(9, EVIL)), ['boot.initrd.unknown', 'boot.initrd.missing']],
  ['a second initrd', [...GOOD, extra(9, EVIL)], ['boot.initrd.unknown']],
  ['a second initrd logged as separator', [...GOOD, extra(9, EVIL, 4)], ['boot.initrd.unknown']],
  ['the approved initrd twice', [...GOOD, extra(9, INITRD)], ['boot.initrd.several']],
  ['no initrd', GOOD.toSpliced(INITRD_AT, 1), ['boot.initrd.missing']],
  [
    'other firmware',
    bootEvents({ kernelSha256: KERNEL, initrdSha256: INITRD, commandLine: LINE, firmware: 'G' }),
    ['boot.pcr.unexpected'],
  ],
  ['a list entry hidden in the boot log: PCR 10', [...GOOD, extra(10, EVIL)], ['boot.pcr.unexpected']],
  ['a list entry hidden in the boot log: PCR 13', [...GOOD, extra(13, EVIL, 4)], ['boot.pcr.unexpected']],
  ['a list entry hidden in the boot log: PCR 14', [...GOOD, extra(14, EVIL, 3 + 5)], ['boot.pcr.unexpected']],
  ['a loader that measures its commands', [...GOOD, extra(8, EVIL, 0xd)], ['boot.pcr.unexpected']],
  ['a stub that measures credentials', [...GOOD, extra(12, EVIL, 0xd)], ['boot.pcr.unexpected']],
];
for (const [name, events, expected] of wrong) {
  test(`found: ${name}`, () => {
    const result = match(events);
    assert.deepEqual(codes(result), expected);
    assert.ok(result.findings.every(({ fatal, link, subject }) => fatal && link === 'boot' && subject === 'host'));
  });
}

test('a finding says what was seen, where, and what was expected', () => {
  const events = [...GOOD, extra(4, EVIL, 0x80000003)];
  assert.deepEqual(match(events).findings, [
    {
      link: 'boot',
      code: 'boot.kernel.unknown',
      subject: 'host',
      expectedSha256: [toHex(REFERENCE.kernelSha256[0] ?? EVIL), toHex(KERNEL)],
      seenSha256: toHex(EVIL),
      logIndex: events.length, // the header of the log is event 0
      detail:
        'a program that firmware started is no approved kernel (logged as EV_EFI_BOOT_SERVICES_APPLICATION in PCR 4)',
      fatal: true,
    },
  ]);
});

test('all findings are told, not the first alone', () => {
  const events = [...GOOD.with(KERNEL_AT, extra(4, EVIL)), extra(9, EVIL), extra(13, EVIL)];
  assert.deepEqual(codes(match(events)), [
    'boot.kernel.unknown',
    'boot.kernel.missing',
    'boot.initrd.unknown',
    'boot.pcr.unexpected',
  ]);
});

test('separators are harmless in every PCR, an error separator is not', () => {
  const healthy = [8, 9, 10, 12, 13, 14].map((pcr) => extra(pcr, sha256(new Uint8Array(4)), 4));
  assert.deepEqual(codes(match([...GOOD, ...healthy])), []);
  assert.deepEqual(codes(match([...GOOD, extra(4, sha256(Uint8Array.of(1, 0, 0, 0)), 4)])), ['boot.kernel.unknown']);
});

test('a kernel with its initrd inside may load no other', () => {
  assert.deepEqual(codes(match(GOOD.toSpliced(INITRD_AT, 1), { initrdSha256: [] })), []);
  assert.deepEqual(codes(match(GOOD, { initrdSha256: [] })), ['boot.initrd.unknown']);
});

test('empty references approve nothing', () => {
  const nothing = { kernelSha256: [], initrdSha256: [], commandLines: [], pcrs: new Map([[0, []]]) };
  assert.deepEqual(codes(match(GOOD, nothing)), [
    'boot.kernel.unknown',
    'boot.kernel.missing',
    'boot.cmdline.unknown',
    'boot.initrd.unknown',
    'boot.cmdline.missing',
    'boot.pcr.unexpected',
  ]);
});

test('pinned: any of the values will do; a PCR that no quote covers cannot be pinned', () => {
  const pins = (pcr: number, value: Uint8Array) => new Map([...REFERENCE.pcrs, [pcr, [value]]]);
  const extended = [...GOOD, extra(13, EVIL)];
  assert.deepEqual(codes(match(extended, { pcrs: pins(13, replay(extended).pcr(13)) })), []);
  assert.deepEqual(codes(match(extended, { pcrs: pins(13, EVIL) })), ['boot.pcr.unexpected']);
  for (const pcr of [11, 15, 16, 23, 4000])
    assert.deepEqual(codes(match(GOOD, { pcrs: pins(pcr, EVIL) })), ['boot.pcr.unquoted']);
});

test('firmware that nothing pins is told: PCR 4 and 9 can be written later where firmware measures nothing', () => {
  const { findings } = match(GOOD, { pcrs: new Map() });
  assert.deepEqual(
    findings.map(({ code, fatal }) => ({ code, fatal })),
    [{ code: 'boot.firmware.unpinned', fatal: false }],
  );
});

test('a real boot by OVMF matches its kernel, initrd and command line', () => {
  for (const name of ['ovmf-sealed', 'ovmf-podman-trixie', 'ovmf-ima-ngv2']) {
    const vector = JSON.parse(readFileSync(new URL(`../../vectors/boot/${name}.json`, import.meta.url), 'utf8'));
    const boot = replayEventLog(
      parseEventLog(readFileSync(new URL(`../../vectors/boot/${name}.log`, import.meta.url))),
    );
    const reference = {
      kernelSha256: [fromHex(vector.kernelSha256Hex)],
      initrdSha256: [fromHex(vector.initrdSha256Hex)],
      commandLines: [vector.commandLine],
      pcrs: new Map([[0, [fromHex(vector.pcrsHex['0'])]]]),
    };
    const result = matchBoot(boot, reference);
    assert.deepEqual(result.findings, [], name);
    assert.equal(result.commandLine, vector.commandLine);
    const shorter = { ...reference, commandLines: [vector.commandLine.replace(' initrd=initrd', '')] };
    assert.deepEqual(codes(matchBoot(boot, shorter)), ['boot.cmdline.unknown', 'boot.cmdline.missing']);
  }
});

test('a real boot by SeaBIOS measures no kernel', () => {
  const log = readFileSync(new URL('../../vectors/boot/seabios-direct-kernel.log', import.meta.url));
  assert.deepEqual(codes(matchBoot(replayEventLog(parseEventLog(log)), REFERENCE))[0], 'boot.none');
});

test('every code has a sentence of its own', () => {
  assert.equal(new Set(Object.values(BOOT_FINDINGS)).size, Object.keys(BOOT_FINDINGS).length);
});
