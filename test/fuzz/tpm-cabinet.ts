import { readCabinet } from '../../src/tpm/cabinet.ts';
import { writeCabinet } from '../simulator/cabinet-file.ts';
import { bytesOf, type FuzzTarget } from './engine/target.ts';

const FILES = [
  { name: 'Maker\\a.crt', content: bytesOf('a certificate') },
  { name: 'é.cer', content: bytesOf('text '.repeat(40)) },
];

export const target: FuzzTarget = {
  parsers: ['src/tpm/cabinet.ts#readCabinet'],
  seeds: () => [
    writeCabinet(FILES, { compression: 'none' }),
    writeCabinet(FILES, { compression: 'mszip' }),
    writeCabinet(FILES, { compression: 'none', reserve: 8 }),
  ],
  words: ['MSCF', 'CK', Uint8Array.of(1, 0), Uint8Array.of(0, 0x80), Uint8Array.of(4, 0)],
  maxBytes: 2 << 20,
  fastMs: 200,
  run: readCabinet,
};
