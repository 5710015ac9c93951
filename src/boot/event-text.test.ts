import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { ByteWriter } from '../bytes/byte-writer.ts';
import { toHex } from '../bytes/hex.ts';
import { devicePathText } from './device-path.ts';
import { parseEfiVariable, secureBootVariable } from './efi-variable.ts';
import { describeEvent, grubText, isConfirmed } from './event-data.ts';
import type { BootEvent } from './event-log.ts';
import { isAnnouncement, isSecureBootOff, isSecureBootOn, isSeparator } from './known-event.ts';

const little = () => new ByteWriter({ littleEndian: true });
const latin1 = (text: string) => Buffer.from(text, 'latin1');
const wide = (text: string) => Buffer.from(text, 'utf16le');

function event(type: number, data: Uint8Array): BootEvent {
  return { index: 0, pcr: 0, type, typeName: '', digests: {}, data };
}

const textOf = (type: number, data: Uint8Array) => describeEvent(event(type, data), 'sha256').text;

test('a type is read in the form that the profile gives it', () => {
  const node = (type: number, subType: number, body: Uint8Array, more = 0) =>
    little()
      .u8(type)
      .u8(subType)
      .u16(4 + body.length + more)
      .bytes(body)
      .finish();
  const path = Buffer.concat([
    node(4, 4, wide('\\a\0')),
    node(4, 3, wide('no')),
    node(3, 4, wide('no')),
    node(4, 4, wide('b')),
    node(0x7f, 0xff, latin1('')),
    node(4, 4, wide('c')),
  ]);
  const image = little().u64(1n).u64(2n).u64(3n).u64(BigInt(path.length)).bytes(path).finish();
  const forms: readonly (readonly [readonly number[], Uint8Array, string])[] = [
    [[0x1, 0x5, 0x7, 0xc, 0xd, 0x12, 0x8000_0007, 0x8000_0010], latin1('abc\0'), 'abc'],
    [[0x8], wide('abc\0'), 'abc'],
    [[0x8], wide('a\0b\0'), 'a.b'],
    [[0x13], little().u8(2).bytes(latin1('abc')).finish(), 'ab'],
    [[0x4], Uint8Array.of(255, 255, 255, 255), 'separator'],
    [[0x4], Uint8Array.of(0, 1, 0, 0), 'separator 256: an error of the firmware'],
    [[0x6], little().u32(1).u32(4).bytes(latin1('x\0y\0')).finish(), '0x00000001 x.y'],
    [[0x6], little().u32(0xabc).u32(4).bytes(latin1('xyz\0')).finish(), '0x00000abc xyz'],
    [[0x8000_0003, 0x8000_0004, 0x8000_0005], image, '\\ab'],
    [[0x8000_0006, 0x8000_000d], little().bytes(new Uint8Array(92)).u64(256n).finish(), '256 partitions'],
    [[0x8000_0006, 0x8000_000d], little().bytes(new Uint8Array(92)).u64(257n).finish(), '256 partitions'],
    [[0x8000_0001, 0x8000_0002, 0x8000_000c, 0x8000_00e0], secureBootVariable(true), 'SecureBoot = 1'],
    [[0x8000_00e1, 0x8000_00e2, 0x8000_00e3, 0x8000_00e4], latin1('SPDM\0rest'), 'SPDM'],
    [[0x8000_00e1], latin1('0123456789abcdefg'), '0123456789abcdef'],
    [[0x0, 0x2, 0x3, 0x9, 0xa, 0xb, 0xe, 0xf, 0x10, 0x11, 0x8000_0000], latin1('abc'), ''],
  ];
  for (const [types, data, text] of forms)
    for (const type of types) assert.equal(textOf(type, data), text, type.toString(16));
});

test('a text is UTF-16 where its second and fourth bytes are zero, and it has whole characters', () => {
  const texts: readonly (readonly [string, string])[] = [
    ['a\0b\0', 'ab'],
    ['a\0b\0c\0', 'abc'],
    ['a\0b\0c', 'a.b.c'],
    ['a\0bc', 'a.bc'],
    ['abc\0', 'abc'],
    ['a\0', 'a'],
    ['a\0b', 'a.b'],
    ['a\0\0', 'a.'],
  ];
  for (const [data, text] of texts) assert.equal(textOf(0xd, latin1(data)), text, JSON.stringify(data));
});

test('a text has at most 512 characters, each of them printable', () => {
  assert.equal(textOf(0xd, latin1('x'.repeat(513))), 'x'.repeat(512));
  assert.equal(textOf(0xd, latin1(' ~\x1f\x7f\xe4x')), ' ~...x');
  const tagged = (length: number) => little().u32(1).u32(length).bytes(Buffer.alloc(length, 'x')).finish();
  assert.equal(textOf(0x6, tagged(512)), `0x00000001 ${'x'.repeat(501)}`);
  assert.equal(textOf(0x6, tagged(513)), '');
});

test("only GRUB's own words are taken off, once, and one final zero", () => {
  for (const prefix of ['grub_cmd: ', 'kernel_cmdline: ', 'module_cmdline: ', 'grub_kernel_cmdline ']) {
    assert.equal(grubText(latin1(`${prefix}a b\0\0`)), 'a b\0');
    assert.equal(grubText(latin1(`${prefix}a\0b\0`)), 'a\0b');
    assert.equal(grubText(latin1(`${prefix}${prefix}`)), prefix);
    assert.equal(grubText(latin1(` ${prefix}a`)), undefined);
    assert.equal(grubText(latin1(prefix.slice(0, -1))), undefined);
  }
});

test('an event is confirmed by the hash of all its data, or of what GRUB says', () => {
  const digestOf = (data: Uint8Array) => ({ sha256: new Uint8Array(createHash('sha256').update(data).digest()) });
  const confirmed = (data: string, hashed: string) =>
    isConfirmed({ ...event(0xd, latin1(data)), digests: digestOf(latin1(hashed)) }, 'sha256');
  assert.ok(confirmed('grub_cmd: a\0', 'grub_cmd: a\0'));
  assert.ok(confirmed('grub_cmd: \xe4\0', '\xe4'));
  assert.ok(!confirmed('grub_cmd: a\0', 'grub_cmd: a'));
  assert.ok(!confirmed('x', ''));
});

test('a variable has its vendor as UEFI spells it, a name of at most 1,024 characters, and no byte more', () => {
  const variable = (name: string, value: Uint8Array) =>
    little()
      .bytes(Uint8Array.from({ length: 16 }, (_, at) => at))
      .u64(BigInt(name.length))
      .u64(BigInt(value.length))
      .bytes(wide(name))
      .bytes(value)
      .finish();
  const vendor = '03020100-0504-0706-0809-0a0b0c0d0e0f';
  for (const length of [0, 1, 1024]) {
    const name = 'n'.repeat(length);
    assert.deepEqual(parseEfiVariable(variable(name, Uint8Array.of(1, 2))), {
      vendor,
      name,
      value: Uint8Array.of(1, 2),
    });
  }
  assert.equal(parseEfiVariable(variable('n'.repeat(1025), new Uint8Array())), undefined);
  assert.equal(parseEfiVariable(variable('n', new Uint8Array(2)).subarray(0, -1)), undefined);
  assert.equal(textOf(0x8000_0001, variable('n', new Uint8Array())), 'n, 0 bytes');
});

test('what firmware logs of a healthy boot is known by its digest, in the bank that is asked for', () => {
  for (const bank of ['sha256', 'sha384'] as const) {
    const hex = (data: Uint8Array) => toHex(createHash(bank).update(data).digest());
    const separators = [new Uint8Array(4), new Uint8Array(4).fill(0xff)].map(hex);
    const actions = [
      'Calling EFI Application from Boot Option',
      'Returning from EFI Application from Boot Option',
      'Calling INT 19h',
      'Returned INT 19h',
      'Return via INT 18h',
    ].map((text) => hex(latin1(text)));
    const others = [new Uint8Array(), new Uint8Array(3), Uint8Array.of(1, 0, 0, 0), latin1('Calling INT 18h')].map(hex);
    for (const [each, separator, announcement] of [
      ...separators.map((one) => [one, true, true] as const),
      ...actions.map((one) => [one, false, true] as const),
      ...others.map((one) => [one, false, false] as const),
    ])
      assert.deepEqual([isSeparator(each, bank), isAnnouncement(each, bank)], [separator, announcement]);
    const head = Buffer.from('61dfe48bca93d211aa0d00e098032b8c0a000000000000000100000000000000', 'hex');
    const secureBoot = (value: number) => hex(Buffer.concat([head, wide('SecureBoot'), Uint8Array.of(value)]));
    for (const value of [0, 1, 2])
      assert.deepEqual(
        [isSecureBootOn(secureBoot(value), bank), isSecureBootOff(secureBoot(value), bank)],
        [value === 1, value === 0],
      );
  }
});

test('a device path is read as far as it has whole nodes; one that is cut off names nothing', () => {
  const file = (text: string) =>
    little()
      .u8(4)
      .u8(4)
      .u16(4 + 2 * text.length)
      .bytes(wide(text))
      .finish();
  assert.equal(devicePathText(file('a\0b\0')), 'a\0b');
  assert.equal(devicePathText(Buffer.concat([file('a'), Uint8Array.of(4, 4, 5)])), 'a');
  assert.throws(() => devicePathText(Buffer.concat([file('a'), Uint8Array.of(4, 4, 5, 0)])), {
    code: 'bytes.truncated',
  });
});
