import { verifyAttestationKey } from '../../src/tpm/attestation-key.ts';
import { parsePublicArea } from '../../src/tpm/public-area.ts';
import { type FuzzTarget, vectorField } from './engine/target.ts';

export const target: FuzzTarget = {
  parsers: ['src/tpm/public-area.ts#parsePublicArea', 'src/tpm/attestation-key.ts#verifyAttestationKey'],
  seeds: () => [
    ...vectorField('tpm/public-area', 'publicHex'),
    ...vectorField('tpm/quote', 'akPublicHex'),
    ...vectorField('tpm/endorsement', 'ekPublicHex'),
  ],
  words: [
    Uint8Array.of(0, 1, 0, 0x0b),
    Uint8Array.of(0, 0x23, 0, 0x0b),
    Uint8Array.of(0, 0x10),
    Uint8Array.of(0, 6, 0, 0x80, 0, 0x43),
  ],
  maxBytes: 4096,
  run: (bytes) => verifyAttestationKey(parsePublicArea(bytes)),
};
