import { gzipSync } from 'node:zlib';
import { hostFilesFromInitrd } from '../../src/appraisal/reference/initrd-files.ts';
import type { FuzzTarget } from './engine/target.ts';

/** One name of a newc archive. */
function cpio(name: string, mode: number, data = '', inode = 1, links = 1): Buffer {
  const fields = [inode, mode, 0, 0, links, 0, data.length, 0, 0, 0, 0, name.length + 1, 0];
  const head = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}${name}\0`;
  const padded = (text: string) => text.padEnd(Math.ceil(text.length / 4) * 4, '\0');
  return Buffer.from(padded(head) + padded(data), 'latin1');
}

const TRAILER = cpio('TRAILER!!!', 0);
const archive = Buffer.concat([
  cpio('bin', 0o40755),
  cpio('bin/app', 0o100755, 'program', 7, 2),
  cpio('bin/same', 0o100755, '', 7, 2),
  cpio('lib', 0o120777, 'bin'),
  cpio('policy', 0o100644, 'measure func=BPRM_CHECK\n'),
  cpio('dev/null', 0o20666),
  TRAILER,
]);

export const target: FuzzTarget = {
  parsers: [
    'src/appraisal/reference/initrd-files.ts#hostFilesFromInitrd',
    'src/appraisal/reference/cpio.ts#readInitrd',
  ],
  seeds: () => [
    new Uint8Array(archive),
    new Uint8Array(Buffer.concat([archive, Buffer.alloc(512 - (archive.length % 512)), gzipSync(archive)])),
  ],
  words: [
    '070701',
    '00000000',
    '0000000f',
    'TRAILER!!!\0',
    'policy\0',
    '../',
    Uint8Array.of(0x1f, 0x8b),
    Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd),
  ],
  shapes: [
    (size) =>
      new Uint8Array(Buffer.concat([...Array(Math.floor(size / 124)).keys()].map((n) => cpio(`f${n}`, 0o100644)))),
    (size) =>
      new Uint8Array(
        Buffer.concat([...Array(Math.floor(size / 124)).keys()].map((n) => cpio(`l${n}`, 0o120777, `l${n + 1}`))),
      ),
    (size) => new Uint8Array(cpio('d/'.repeat(1000).slice(0, -1), 0o40755)).slice(0, size),
  ],
  maxBytes: 1 << 20,
  fastMs: 200,
  run: hostFilesFromInitrd,
};
