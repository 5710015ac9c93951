import { SpiffeId } from '../../src/identity/spiffe-id.ts';
import { isDnsName } from '../../src/issuance/dns-name.ts';
import { bytesOf, type FuzzTarget, textOf } from './engine/target.ts';

export const target: FuzzTarget = {
  parsers: [
    'src/identity/spiffe-id.ts#parse',
    'src/identity/trust-domain.ts#parse',
    'src/issuance/dns-name.ts#isDnsName',
  ],
  seeds: () =>
    ['spiffe://lab.example/a/b', 'spiffe://x', '*.a-b.example', `spiffe://${'a'.repeat(255)}/x`].map(bytesOf),
  words: ['spiffe://', '/', '..', '%2e', '@', ':8', '?', '#', '*.', '-'],
  maxBytes: 1 << 17,
  run: (bytes) => [isDnsName(textOf(bytes)), SpiffeId.parse(textOf(bytes))],
};
