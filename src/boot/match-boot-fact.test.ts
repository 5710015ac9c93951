import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bootEvents, type SimulatedEvent, writeEventLog } from '../../test/simulator/event-log.ts';
import { toHex } from '../bytes/hex.ts';
import { BOOT_FINDINGS } from './boot-finding.ts';
import { commandLineDigest } from './command-line.ts';
import { parseEventLog } from './event-log.ts';
import { type BootComponent, type BootReference, matchBoot } from './match-boot.ts';
import { replayEventLog } from './replayed-boot.ts';

const digest = (fill: number) => new Uint8Array(32).fill(fill);
const [KERNEL, INITRD, SHIM, EVIL] = [digest(1), digest(2), digest(3), digest(0xee)];
const LINE = 'quiet';
const GOOD = bootEvents({ kernelSha256: KERNEL, initrdSha256: INITRD, commandLine: LINE, firmware: 'F' });
const replay = (events: readonly SimulatedEvent[]) => replayEventLog(parseEventLog(writeEventLog(events)));
const REFERENCE: BootReference = {
  kernelSha256: [KERNEL],
  initrdSha256: [INITRD],
  commandLines: ['other', LINE],
  pcrs: new Map([[0, [replay(GOOD).pcr(0)]]]),
};
const lineHex = toHex(commandLineDigest(LINE));
const match = (events: readonly SimulatedEvent[], reference: Partial<BootReference> = {}) =>
  matchBoot(replay(events), { ...REFERENCE, ...reference });
const extra = (pcr: number, sha256: Uint8Array): SimulatedEvent => ({ pcr, type: 6, sha256, data: new Uint8Array() });
const without = (sha256: Uint8Array) => GOOD.filter((event) => toHex(event.sha256) !== toHex(sha256));
/** Code, what was expected, and what was seen at which place of the log; its header is event 0. */
const facts = (events: readonly SimulatedEvent[], reference: Partial<BootReference> = {}) =>
  match(events, reference).findings.map(({ code, expectedSha256, seenSha256, logIndex }) => ({
    code,
    expectedSha256,
    seenSha256,
    logIndex,
  }));
const last = GOOD.length + 1;

test('what is missing names what was expected, and nothing that was seen', () => {
  for (const [part, sha256, expected] of [
    ['kernel', KERNEL, [toHex(KERNEL)]],
    ['initrd', INITRD, [toHex(INITRD)]],
    ['cmdline', commandLineDigest(LINE), [toHex(commandLineDigest('other')), lineHex]],
  ] as const) {
    const [finding, ...more] = match(without(sha256)).findings;
    const detail = BOOT_FINDINGS[`boot.${part}.missing`];
    const common = { link: 'boot', subject: 'host', fatal: true };
    assert.deepEqual(finding, { ...common, code: `boot.${part}.missing`, expectedSha256: expected, detail });
    assert.deepEqual(more, []);
  }
});

test('what is there twice names the second, and what is not there is not named', () => {
  for (const [part, sha256, pcr] of [
    ['kernel', KERNEL, 4],
    ['initrd', INITRD, 9],
  ] as const) {
    const [finding] = match([...GOOD, extra(pcr, sha256)]).findings;
    assert.equal(finding?.detail, BOOT_FINDINGS[`boot.${part}.several`]);
    assert.deepEqual(facts([...GOOD, extra(pcr, sha256)]), [
      { code: `boot.${part}.several`, expectedSha256: [toHex(sha256)], seenSha256: toHex(sha256), logIndex: last },
    ]);
  }
  assert.deepEqual(Object.keys(match(without(commandLineDigest(LINE)))), [
    'findings',
    'kernelSha256Hex',
    'initrdSha256Hex',
  ]);
});

test('a kernel or an initrd is known in its own PCR alone', () => {
  for (const [pcr, sha256, code] of [
    [4, INITRD, 'boot.kernel.unknown'],
    [9, KERNEL, 'boot.initrd.unknown'],
    ...[8, 10, 12, 13, 14].flatMap((pcr) => [KERNEL, INITRD].map((one) => [pcr, one, 'boot.pcr.unexpected'] as const)),
  ] as const) {
    const [finding, ...more] = facts([...GOOD, extra(pcr, sha256)]);
    const { code: seen, seenSha256, logIndex } = finding ?? assert.fail(`PCR ${pcr}`);
    assert.deepEqual([seen, seenSha256, logIndex, more], [code, toHex(sha256), last, []], `PCR ${pcr}`);
  }
});

test('an unknown command line names those that are approved', () => {
  const event = { ...extra(9, EVIL), data: Buffer.from('ed223b8f', 'hex') };
  assert.deepEqual(facts([...GOOD, event]), [
    {
      code: 'boot.cmdline.unknown',
      expectedSha256: [toHex(commandLineDigest('other')), lineHex],
      seenSha256: toHex(EVIL),
      logIndex: last,
    },
  ]);
});

test('every PCR that a quote covers can be pinned, at any of the values given', () => {
  const boot = replay(GOOD);
  for (const pcr of [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14]) {
    const pinned = (...values: Uint8Array[]) => facts(GOOD, { pcrs: new Map([...REFERENCE.pcrs, [pcr, values]]) });
    assert.deepEqual(pinned(EVIL, boot.pcr(pcr)), [], `PCR ${pcr}`);
    const seenSha256 = toHex(boot.pcr(pcr));
    const expectedSha256 = [toHex(EVIL), toHex(SHIM)];
    assert.deepEqual(
      pinned(EVIL, SHIM),
      [{ code: 'boot.pcr.unexpected', expectedSha256, seenSha256, logIndex: undefined }],
      `PCR ${pcr}`,
    );
  }
});

test('a component that is missing names its digests, one that is there twice the second', () => {
  const shim: BootComponent = { name: 'shim', pcr: 4, sha256: [SHIM, EVIL], sha384: [], required: true };
  const components = [shim];
  const expectedSha256 = [toHex(SHIM), toHex(EVIL)];
  assert.deepEqual(facts([...GOOD, extra(4, SHIM)], { components }), []);
  assert.deepEqual(facts(GOOD, { components }), [
    { code: 'boot.component.missing', expectedSha256, seenSha256: undefined, logIndex: undefined },
  ]);
  assert.deepEqual(facts(GOOD, { components: [{ ...shim, required: false }] }), []);
  assert.deepEqual(facts([...GOOD, extra(4, SHIM), extra(4, EVIL)], { components }), [
    { code: 'boot.component.several', expectedSha256, seenSha256: toHex(EVIL), logIndex: last + 1 },
  ]);
});

test('without Secure Boot the finding names what PCR 7 begins with, where it begins', () => {
  const others = GOOD.filter(({ pcr }) => pcr !== 7);
  const detail = BOOT_FINDINGS['boot.secureboot.off'];
  const [begun, ...more] = match([...others, extra(7, EVIL)], { secureBoot: true }).findings;
  assert.deepEqual([begun?.code, begun?.detail, more], ['boot.secureboot.off', detail, []]);
  assert.deepEqual([begun?.seenSha256, begun?.logIndex], [toHex(EVIL), others.length + 1]);
  const [empty] = match(others, { secureBoot: true }).findings;
  assert.deepEqual(
    [empty?.code, empty && 'seenSha256' in empty, empty && 'logIndex' in empty],
    ['boot.secureboot.off', false, false],
  );
});

test('a boot that measured nothing, or whose firmware nothing pins, is told in its own sentence', () => {
  const [none] = match(without(KERNEL).filter(({ pcr }) => pcr !== 9)).findings;
  assert.deepEqual([none?.code, none?.detail], ['boot.none', BOOT_FINDINGS['boot.none']]);
  const [unpinned] = match(GOOD, { pcrs: new Map() }).findings;
  assert.equal(unpinned?.detail, BOOT_FINDINGS['boot.firmware.unpinned']);
});
