import { parseSizedPublicArea } from '../../src/tpm/public-area.ts';
import { type FuzzTarget, vectorField } from './engine/target.ts';

export const target: FuzzTarget = {
  parsers: ['src/tpm/public-area.ts#parseSizedPublicArea'],
  seeds: () =>
    vectorField('tpm/quote', 'akPublicHex').map((area) => Uint8Array.of(area.length >> 8, area.length & 255, ...area)),
  maxBytes: 4096,
  run: parseSizedPublicArea,
};
