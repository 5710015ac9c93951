/** X.509-SVIDs signed a second: `node bench/core/svid-sign.ts [seconds]`. Prints one JSON object; time is of CPU. */
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { concludeVerdict } from '../../src/appraisal/verdict.ts';
import { SpiffeId } from '../../src/identity/spiffe-id.ts';
import { TrustDomain } from '../../src/identity/trust-domain.ts';
import { SigningAuthority } from '../../src/issuance/signing-authority.ts';
import { issueX509Svid } from '../../src/issuance/x509-svid.ts';
import { perSecond } from './per-second.ts';

const now = new Date();
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const authority = SigningAuthority.create({
  trustDomain: TrustDomain.parse('bench.example'),
  key: privateKey,
  serial: randomBytes(16),
  now,
  ttlMs: 3_600_000,
  subject: { organization: 'Lacre', commonName: 'bench' },
});
const keys = Array.from({ length: 64 }, () => {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }));
});
const spiffeId = SpiffeId.parse('spiffe://bench.example/ns/shop/orders');
const verdict = concludeVerdict('container', [], [], now);
let number = 0;

async function sign(): Promise<void> {
  const publicKey = keys[number++ % keys.length] ?? new Uint8Array();
  await issueX509Svid({ verdict, spiffeId, publicKey, authority, now, ttlSeconds: 300, serial: randomBytes(16) });
}

const rate = await perSecond(sign, Number(process.argv[2] ?? 3));
process.stdout.write(`${JSON.stringify({ svids: rate })}\n`);
