import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { ByteWriter } from '../bytes/byte-writer.ts';
import { devicePathText } from './device-path.ts';
import { GLOBAL_VENDOR, parseEfiVariable, secureBootVariable } from './efi-variable.ts';
import { describeEvent, grubText, isConfirmed } from './event-data.ts';
import { type BootEvent, parseEventLog } from './event-log.ts';
import { eventTypeName } from './event-type.ts';

const little = () => new ByteWriter({ littleEndian: true });
const latin1 = (text: string) => Buffer.from(text, 'latin1');
const wide = (text: string) => Buffer.from(text, 'utf16le');

/** An event whose digest is of `hashed`. */
function event(type: number, data: Uint8Array, hashed: Uint8Array = data): BootEvent {
  const digest = (bank: string) => new Uint8Array(createHash(bank).update(hashed).digest());
  const digests = { sha256: digest('sha256'), sha384: digest('sha384') };
  return { index: 0, pcr: 0, type, typeName: eventTypeName(type), digests, data };
}

const filePath = (text: string) =>
  little()
    .u8(4)
    .u8(4)
    .u16(4 + wide(`${text}\0`).length)
    .bytes(wide(`${text}\0`))
    .finish();
const END = Uint8Array.of(0x7f, 0xff, 4, 0);
const image = (path: Uint8Array) => little().u64(1n).u64(2n).u64(3n).u64(BigInt(path.length)).bytes(path).finish();

const known: readonly (readonly [string, number, Uint8Array, string])[] = [
  ['EV_POST_CODE', 0x1, latin1('POST CODE'), 'POST CODE'],
  ['EV_SEPARATOR', 0x4, new Uint8Array(4), 'separator'],
  ['EV_SEPARATOR of an error', 0x4, Uint8Array.of(1, 0, 0, 0), 'separator 1: an error of the firmware'],
  ['EV_ACTION', 0x5, latin1('Calling INT 19h'), 'Calling INT 19h'],
  ['EV_EVENT_TAG', 0x6, little().u32(0x8f3b22ed).u32(5).bytes(latin1('Linux')).finish(), '0x8f3b22ed Linux'],
  ['EV_S_CRTM_VERSION', 0x8, wide('1.2\0'), '1.2'],
  ['EV_IPL of GRUB', 0xd, latin1('grub_cmd: set x\0'), 'grub_cmd: set x'],
  ['EV_IPL of systemd', 0xd, wide('initrd=a\0'), 'initrd=a'],
  ['EV_POST_CODE2', 0x13, little().u8(3).bytes(latin1('abc')).u64(0n).u64(0n).finish(), 'abc'],
  ['EV_EFI_VARIABLE_DRIVER_CONFIG', 0x8000_0001, secureBootVariable(true), 'SecureBoot = 1'],
  [
    'EV_EFI_VARIABLE_BOOT2',
    0x8000_000c,
    little().bytes(new Uint8Array(16)).u64(9n).u64(2n).bytes(wide('BootOrder')).u16(1).finish(),
    'BootOrder, 2 bytes',
  ],
  ['an application', 0x8000_0003, image(Buffer.concat([filePath('\\EFI\\a.efi'), END])), '\\EFI\\a.efi'],
  ['a driver without a file', 0x8000_0004, image(Uint8Array.of(1, 1, 6, 0, 0, 0)), ''],
  ['EV_EFI_GPT_EVENT', 0x8000_0006, little().bytes(new Uint8Array(92)).u64(3n).finish(), '3 partitions'],
  ['EV_EFI_PLATFORM_FIRMWARE_BLOB', 0x8000_0008, little().u64(0xff00n).u64(16n).finish(), '0xff00, 16 bytes'],
  ['EV_EFI_HANDOFF_TABLES', 0x8000_0009, little().u64(2n).finish(), '2 tables'],
  [
    'EV_EFI_PLATFORM_FIRMWARE_BLOB2',
    0x8000_000a,
    little().u8(2).bytes(latin1('FV')).u64(1n).u64(2n).finish(),
    'FV at 0x1, 2 bytes',
  ],
  ['EV_EFI_HANDOFF_TABLES2', 0x8000_000b, little().u8(1).bytes(latin1('T')).u64(1n).finish(), 'T, 1 tables'],
  [
    'EV_EFI_SPDM_FIRMWARE_BLOB',
    0x8000_00e1,
    Buffer.concat([latin1('SPDM Device Sec\0'), new Uint8Array(9)]),
    'SPDM Device Sec',
  ],
  ['EV_NO_ACTION', 0x3, latin1('StartupLocality\0'), ''],
  ['a type that nobody knows', 0x1234, latin1('x'), ''],
];
for (const [name, type, data, text] of known) {
  test(`event data: ${name}`, () => {
    assert.deepEqual(describeEvent(event(type, data), 'sha256'), { text, confirmed: true });
    assert.equal(describeEvent(event(type, data, latin1('other')), 'sha256').confirmed, false);
  });
}

test('data that is not as its type says has no text', () => {
  for (const type of [0x4, 0x6, 0x13, 0x8000_0001, 0x8000_0003, 0x8000_0006, 0x8000_0008, 0x8000_000a, 0x8000_000b]) {
    assert.equal(describeEvent(event(type, Uint8Array.of(9)), 'sha256').text, '', eventTypeName(type));
  }
  const far = image(Uint8Array.of(4, 4, 255, 255));
  assert.equal(describeEvent(event(0x8000_0003, far), 'sha256').text, '', 'a device path that ends outside');
  const long = little().u32(1).u32(100_000).bytes(new Uint8Array(100_000)).finish();
  assert.equal(describeEvent(event(0x6, long), 'sha256').text, '', 'a tagged event over its bound');
});

test('what GRUB hashed is confirmed without its prefix, by the bank that is asked for', () => {
  const line = 'root=/dev/vda ro';
  for (const prefix of ['grub_cmd: ', 'kernel_cmdline: ', 'grub_kernel_cmdline ']) {
    const logged = event(0xd, latin1(`${prefix}${line}\0`), latin1(line));
    assert.equal(grubText(logged.data), line);
    assert.deepEqual([isConfirmed(logged, 'sha256'), isConfirmed(logged, 'sha384')], [true, true]);
    const other = event(0xd, latin1(`${prefix}${line}\0`), latin1(`${line} init=/bin/sh`));
    assert.equal(isConfirmed(other, 'sha256'), false);
  }
  assert.equal(grubText(latin1('/boot/grub.cfg')), undefined);
  assert.equal(isConfirmed({ ...event(0xd, latin1('x')), digests: {} }, 'sha256'), false, 'no digest of the bank');
});

test('a variable is read as it was written, and its bytes are left as they are', () => {
  const bytes = Buffer.from(secureBootVariable(false));
  const before = Buffer.from(bytes);
  assert.deepEqual(parseEfiVariable(bytes), {
    vendor: GLOBAL_VENDOR,
    name: 'SecureBoot',
    value: Buffer.from([0]),
  });
  assert.deepEqual(bytes, before);
  assert.equal(parseEfiVariable(Buffer.concat([bytes, Buffer.of(0)])), undefined, 'a byte too many');
  const huge = Buffer.from(bytes);
  huge.writeBigUInt64LE(2n ** 63n, 16);
  assert.equal(parseEfiVariable(huge), undefined, 'a name without end');
});

test('a device path of very many nodes is read up to a bound', () => {
  assert.equal(devicePathText(Buffer.concat(Array.from({ length: 500 }, () => filePath('a')))), 'a'.repeat(64));
  assert.equal(devicePathText(Buffer.concat([Uint8Array.of(1, 1, 0, 0), END])), '', 'a node without a length');
});

test('whatever type and data, a line of printable text comes out', () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.constantFrom(...known.map(([, type]) => type)), fc.nat()),
      fc.uint8Array({ maxLength: 600 }),
      (type, data) => {
        const { text } = describeEvent(event(type, data), 'sha256');
        assert.match(text, /^[\x20-\x7e]{0,512}$/);
      },
    ),
    { numRuns: 3000 },
  );
});

test('of a recorded boot every separator, variable and action is confirmed', () => {
  const events = parseEventLog(readFileSync(new URL('../../vectors/boot/ovmf-sealed.log', import.meta.url)));
  const claims = events.filter(({ pcr, type }) => pcr === 7 || type === 0x4 || type === 0x8000_0007);
  assert.ok(claims.length > 12);
  for (const each of claims) assert.ok(isConfirmed(each, 'sha256'), `event ${each.index}`);
});
