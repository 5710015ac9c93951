import { isLacreError } from '../../src/lacre-error.ts';
import { parseCertification, parseQuote } from '../../src/tpm/attest.ts';
import { type FuzzTarget, vectorField } from './engine/target.ts';

export const target: FuzzTarget = {
  parsers: [
    'src/tpm/attest.ts#parseCertification',
    'src/tpm/attest.ts#parseQuote',
    'src/tpm/attest.ts#readClock',
    'src/tpm/attest.ts#readPcrSelections',
  ],
  seeds: () => vectorField('tpm/quote', 'attestHex'),
  words: [
    Uint8Array.of(0xff, 0x54, 0x43, 0x47),
    Uint8Array.of(0x80, 0x18),
    Uint8Array.of(0x80, 0x17),
    Uint8Array.of(0, 0x0b, 3, 0xff, 0xff, 0xff),
  ],
  maxBytes: 4096,
  run: (bytes) => {
    try {
      parseCertification(bytes);
    } catch (error) {
      if (!isLacreError(error)) throw error;
    }
    return parseQuote(bytes);
  },
};
