import { parseEfiVariable, secureBootVariable } from '../../src/boot/efi-variable.ts';
import type { FuzzTarget } from './engine/target.ts';

export const target: FuzzTarget = {
  parsers: ['src/boot/efi-variable.ts#parseEfiVariable'],
  seeds: () => [secureBootVariable(true), secureBootVariable(false)],
  words: ['S\0e\0c\0u\0r\0e\0', Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0)],
  maxBytes: 1 << 20,
  run: parseEfiVariable,
};
