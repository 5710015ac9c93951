import { certificateSpki, parseEndorsementCertificate } from '../../src/tpm/certificate.ts';
import { splitDer, trimDer } from '../../src/tpm/der-sequence.ts';
import { tryMakerCertificate } from '../../src/tpm/maker-root.ts';
import { type FuzzTarget, vectorField } from './engine/target.ts';

export const target: FuzzTarget = {
  parsers: [
    'src/tpm/certificate.ts#parseEndorsementCertificate',
    'src/tpm/certificate.ts#certificateSpki',
    'src/tpm/maker-root.ts#readMakerCertificate',
    'src/tpm/der-sequence.ts#trimDer',
    'src/tpm/der-sequence.ts#splitDer',
  ],
  seeds: () => [
    ...vectorField('tpm/endorsement', 'certificateHex'),
    ...vectorField('tpm/endorsement', 'intermediatesHex'),
    ...vectorField('tpm/endorsement', 'rootsHex'),
  ],
  words: ['30', '0603551d11', '0603551d0f', '0603551d25', '0603551d13', '0603551d20', 'a482', '0101ff', '30800000'].map(
    (hex) => Buffer.from(hex, 'hex'),
  ),
  maxBytes: 16_384,
  run: (bytes) => {
    for (const part of splitDer(bytes)) trimDer(part);
    tryMakerCertificate(bytes);
    const certificate = parseEndorsementCertificate(bytes);
    return [certificate.isCa, certificateSpki(bytes)];
  },
};
