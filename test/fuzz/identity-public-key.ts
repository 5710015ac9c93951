import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { parsePublicKey } from '../../src/identity/public-key.ts';
import type { FuzzTarget } from './engine/target.ts';

const keys = ['prime256v1', 'secp384r1'].map((namedCurve) => generateKeyPairSync('ec', { namedCurve }).privateKey);

export const target: FuzzTarget = {
  parsers: ['src/identity/public-key.ts#parsePublicKey'],
  seeds: () =>
    [...keys, generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey].map(
      (key) => new Uint8Array(createPublicKey(key).export({ format: 'der', type: 'spki' })),
    ),
  words: ['3059', '03420004', '06082a8648ce3d030107', '06072a8648ce3d0201', '0500', '0203010001'].map((hex) =>
    Buffer.from(hex, 'hex'),
  ),
  maxBytes: 65_536,
  run: parsePublicKey,
};
