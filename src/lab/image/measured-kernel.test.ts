import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { authenticodeSha256 } from '../../boot/authenticode.ts';
import { parseEventLog } from '../../boot/event-log.ts';
import { measuredKernel, measuredWithInitrd } from './measured-kernel.ts';

const LOG = new Uint8Array(readFileSync(join(import.meta.dirname, '../../../vectors/boot/ovmf-podman-trixie.log')));

/** A PE image with the fields of a kernel's setup header inside its headers (kernel: arch/x86/boot.rst). */
function kernel(): Uint8Array {
  const bytes = Buffer.alloc(0x700, 0x5a);
  const pe = 0x280;
  bytes.fill(0, 0, 0x400);
  bytes.write('MZ');
  bytes.writeUInt32LE(pe, 0x3c);
  bytes.write('PE\0\0', pe, 'latin1');
  bytes.writeUInt16LE(1, pe + 6);
  bytes.writeUInt16LE(0xf0, pe + 20);
  bytes.writeUInt16LE(0x20b, pe + 24);
  bytes.writeUInt32LE(0x400, pe + 24 + 60);
  bytes.writeUInt32LE(16, pe + 24 + 108);
  bytes.writeUInt32LE(0x300, pe + 24 + 0xf0 + 16);
  bytes.writeUInt32LE(0x400, pe + 24 + 0xf0 + 20);
  return bytes;
}

const EV_EFI_BOOT_SERVICES_APPLICATION = 0x8000_0003;

/** The log, with the digest of the kernel in it replaced by that of an image. */
function logOf(image: Uint8Array): Uint8Array {
  const booted = parseEventLog(LOG).find(({ pcr, type }) => pcr === 4 && type === EV_EFI_BOOT_SERVICES_APPLICATION);
  const digest = booted?.digests.sha256;
  assert.ok(digest);
  const log = Buffer.from(LOG);
  log.set(authenticodeSha256(image), log.indexOf(digest));
  return log;
}

test('the kernel of the package, where the firmware measured it as it is', () => {
  const image = kernel();
  assert.equal(measuredKernel(image, 1000, logOf(image)), image);
});

test('the same with the fields of a boot loader, where the firmware measured those', () => {
  const image = kernel();
  const loaded = Buffer.from(image);
  loaded.writeUInt8(0xb0, 0x210);
  loaded.writeUInt8(0x80, 0x211);
  loaded.writeUInt32LE(0x7ffd_7000, 0x218);
  loaded.writeUInt32LE(1000, 0x21c);
  loaded.writeUInt16LE(0xfe00, 0x224);
  loaded.writeUInt32LE(0x2_0000, 0x228);
  const found = measuredKernel(image, 1000, logOf(loaded));
  assert.deepEqual(Buffer.from(found).toString('hex', 0x200, 0x240), loaded.toString('hex', 0x200, 0x240));
});

test('a kernel that the log does not show is another one', () => {
  assert.throws(() => measuredKernel(kernel(), 1000, LOG), { code: 'lab.build.kernel' });
});

test('beside another initrd the header names that one, where this QEMU fills it in at all', () => {
  const image = kernel();
  const withFields = (initrdLength: number) => {
    const loaded = Buffer.from(image);
    loaded.writeUInt8(0xb0, 0x210);
    loaded.writeUInt8(0x80, 0x211);
    loaded.writeUInt32LE((0x7ffd_7fff - initrdLength) & ~0xfff, 0x218);
    loaded.writeUInt32LE(initrdLength, 0x21c);
    loaded.writeUInt16LE(0xfe00, 0x224);
    loaded.writeUInt32LE(0x2_0000, 0x228);
    return loaded;
  };
  assert.equal(measuredWithInitrd(image, { measured: image, knownLength: 5000 }, 90_000), image);
  const other = measuredWithInitrd(image, { measured: withFields(5000), knownLength: 5000 }, 90_000);
  assert.deepEqual(Buffer.from(other).toString('hex', 0x200, 0x240), withFields(90_000).toString('hex', 0x200, 0x240));
});
