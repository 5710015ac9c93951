/** How many X.509-SVIDs one core signs in a second: `node bench/svid-sign.ts [seconds]`. Prints one JSON object. */
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { concludeVerdict } from '../src/appraisal/verdict.ts';
import { SpiffeId } from '../src/identity/spiffe-id.ts';
import { TrustDomain } from '../src/identity/trust-domain.ts';
import { SigningAuthority } from '../src/issuance/signing-authority.ts';
import { issueX509Svid } from '../src/issuance/x509-svid.ts';

const seconds = Number(process.argv[2] ?? 3);
const now = new Date();
const trustDomain = TrustDomain.parse('bench.example');
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const authority = SigningAuthority.create({
  trustDomain,
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

async function sign(count: number): Promise<void> {
  for (let index = 0; index < count; index++) {
    const publicKey = keys[index % keys.length] ?? new Uint8Array();
    await issueX509Svid({ verdict, spiffeId, publicKey, authority, now, ttlSeconds: 300, serial: randomBytes(16) });
  }
}

await sign(2000);
let signed = 0;
const began = performance.now();
while (performance.now() - began < seconds * 1000) {
  await sign(500);
  signed += 500;
}
const took = (performance.now() - began) / 1000;
process.stdout.write(
  `${JSON.stringify({ bench: 'svid-sign', signed, seconds: took, perSecond: Math.round(signed / took) })}\n`,
);
