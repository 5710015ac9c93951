import { authenticodeSha256 } from '../../src/boot/authenticode.ts';
import type { FuzzTarget } from './engine/target.ts';

/** A small PE32+ image with two sections and a certificate table. */
function image(): Uint8Array {
  const pe = Buffer.alloc(1024);
  pe.write('MZ');
  pe.writeUInt32LE(64, 60);
  pe.write('PE\0\0', 64, 'latin1');
  pe.writeUInt16LE(0x8664, 68);
  pe.writeUInt16LE(2, 70);
  pe.writeUInt16LE(240, 84);
  const optional = 88;
  pe.writeUInt16LE(0x20b, optional);
  pe.writeUInt32LE(512, optional + 60);
  pe.writeUInt32LE(16, optional + 108);
  pe.writeUInt32LE(1000, optional + 112 + 32);
  pe.writeUInt32LE(24, optional + 112 + 36);
  for (const [index, start] of [512, 768].entries()) {
    const section = optional + 240 + 40 * index;
    pe.writeUInt32LE(index === 0 ? 256 : 232, section + 16);
    pe.writeUInt32LE(start, section + 20);
  }
  return new Uint8Array(pe);
}

export const target: FuzzTarget = {
  parsers: ['src/boot/authenticode.ts#authenticodeSha256'],
  seeds: () => [image()],
  words: ['MZ', 'PE\0\0', Uint8Array.of(0x0b, 2), Uint8Array.of(0x0b, 1), Uint8Array.of(96, 0)],
  maxBytes: 2 << 20,
  run: authenticodeSha256,
};
