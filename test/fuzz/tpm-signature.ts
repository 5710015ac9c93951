import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { isSignedBy, parseSignature } from '../../src/tpm/signature.ts';
import { type FuzzTarget, vectorField } from './engine/target.ts';

const keys = [
  createPublicKey(generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey),
  createPublicKey(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey),
];

export const target: FuzzTarget = {
  parsers: ['src/tpm/signature.ts#parseSignature', 'src/tpm/signature.ts#isSignedBy'],
  seeds: () => vectorField('tpm/quote', 'signatureHex'),
  words: [
    Uint8Array.of(0, 0x18, 0, 0x0b),
    Uint8Array.of(0, 0x14, 0, 0x0b),
    Uint8Array.of(0, 0x16),
    Uint8Array.of(1, 0),
  ],
  maxBytes: 4096,
  run: (bytes) => {
    const signature = parseSignature(bytes);
    return keys.map((key) => isSignedBy(signature, key, Uint8Array.of(1)));
  },
};
