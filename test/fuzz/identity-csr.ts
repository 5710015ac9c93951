import { parseCsr } from '../../src/identity/csr.ts';
import { type FuzzTarget, vectorFiles } from './engine/target.ts';

export const target: FuzzTarget = {
  parsers: [
    'src/identity/csr.ts#parseCsr',
    'src/identity/der.ts#read',
    'src/identity/der.ts#readWhole',
    'src/identity/der.ts#readOptional',
  ],
  seeds: () => vectorFiles('identity/csr', '.der'),
  words: [
    '30',
    '3059',
    '0201000000',
    'a000',
    '03420004',
    '06082a8648ce3d030107',
    '06072a8648ce3d0201',
    '3082',
    '0500',
  ].map((hex) => Buffer.from(hex, 'hex')),
  maxBytes: 16_384,
  run: parseCsr,
};
