import { pemCertificates } from '../../src/agent/config.ts';
import { type FuzzTarget, tiled, vectorFiles } from './engine/target.ts';

export const target: FuzzTarget = {
  parsers: ['src/agent/config.ts#pemCertificates'],
  seeds: () => vectorFiles('agent', '.pem'),
  words: ['-----BEGIN CERTIFICATE-----', '-----END CERTIFICATE-----', '\n', '=', 'MII', '-'],
  shapes: [tiled('-----BEGIN CERTIFICATE-----a'), tiled('-----BEGIN CERTIFICATE-----a-----END CERTIFICATE-----')],
  maxBytes: 1 << 19,
  fastMs: 400,
  run: (bytes) => pemCertificates('bundle.pem', bytes),
};
