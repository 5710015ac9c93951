import { X509Certificate } from 'node:crypto';
import { verifyEndorsement } from '../../src/tpm/endorsement.ts';
import { parsePublicArea } from '../../src/tpm/public-area.ts';
import { type FuzzTarget, vectorField } from './engine/target.ts';

const [ek] = vectorField('tpm/endorsement', 'ekPublicHex').map((bytes) => parsePublicArea(bytes));
const roots = vectorField('tpm/endorsement', 'rootsHex').flatMap((der) => {
  try {
    return [{ certificate: new X509Certificate(der), tier: 'software' as const }];
  } catch {
    return [];
  }
});

/** A chain: certificates one after the other, each behind its length in two bytes. */
function parts(bytes: Uint8Array): Uint8Array[] {
  const found: Uint8Array[] = [];
  for (let at = 0; at + 2 <= bytes.length && found.length < 32; ) {
    const length = ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
    found.push(bytes.subarray(at + 2, at + 2 + length));
    at += 2 + length;
  }
  return found;
}

const behindSize = (der: Uint8Array) => [der.length >> 8, der.length & 255, ...der];

export const target: FuzzTarget = {
  parsers: ['src/tpm/endorsement.ts#verifyEndorsement'],
  seeds: () => {
    const certificates = vectorField('tpm/endorsement', 'certificateHex');
    const intermediates = vectorField('tpm/endorsement', 'intermediatesHex').slice(0, 4);
    return certificates.map((leaf) => Uint8Array.from([leaf, ...intermediates].flatMap(behindSize)));
  },
  maxBytes: 65_536,
  run: (bytes) => {
    const [certificate = new Uint8Array(), ...intermediates] = parts(bytes);
    if (ek === undefined) throw new Error('the vectors hold no endorsement key');
    return verifyEndorsement({ certificate, intermediates, roots, ek, now: new Date('2026-11-26T00:00:00Z') });
  },
};
