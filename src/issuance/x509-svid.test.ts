import assert from 'node:assert/strict';
import { generateKeyPairSync, randomBytes, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Finding } from '../appraisal/finding.ts';
import { concludeVerdict, Verdict } from '../appraisal/verdict.ts';
import { parseCertificateFields } from '../identity/certificate-fields.ts';
import { parseCsr, type VerifiedCsr } from '../identity/csr.ts';
import { SpiffeId } from '../identity/spiffe-id.ts';
import { TrustDomain } from '../identity/trust-domain.ts';
import { isLacreError } from '../lacre-error.ts';
import { SigningAuthority } from './signing-authority.ts';
import { issueAgentSvid, issueServerSvid, issueX509Svid } from './x509-svid.ts';

const NOW = new Date('2026-05-01T12:00:00.000Z');
const CONTAINER = 'c0ffee';
const EK = 'ab'.repeat(32);
const spiffeId = SpiffeId.parse('spiffe://lab.example/orders');
const publicKey = spki();
const authority = makeAuthority(86_400_000);
const trusted = concludeVerdict(CONTAINER, [], [], NOW);
const csr = parseCsr(new Uint8Array(readFileSync(join(import.meta.dirname, '../../vectors/identity/csr/p256.der'))));

function makeAuthority(ttlMs: number, now = NOW): SigningAuthority {
  const { privateKey: key } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const subject = { organization: 'Lacre', commonName: 'test' };
  return SigningAuthority.create({
    trustDomain: TrustDomain.parse('lab.example'),
    key,
    serial: randomBytes(16),
    now,
    ttlMs,
    subject,
  });
}

function spki(): Uint8Array {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }));
}

function seconds(time: Date, add: number): Date {
  return new Date(time.getTime() + add * 1000);
}

const usual = () => ({
  verdict: trusted,
  spiffeId,
  publicKey,
  authority,
  now: NOW,
  ttlSeconds: 300,
  serial: randomBytes(16),
});
const code =
  (...codes: Parameters<typeof isLacreError>[1][]) =>
  (error: unknown) =>
    isLacreError(error, ...codes);
const fatal: Finding = {
  link: 'appraisal',
  code: 'appraisal.file.unexpected',
  subject: CONTAINER,
  expectedSha256: [],
  detail: 'a file that is no reference value',
  fatal: true,
} as unknown as Finding;

test('without a trusted verdict nothing is issued', async () => {
  const refused = concludeVerdict(CONTAINER, [fatal], [], NOW);
  assert.equal(refused.trusted, false);
  await assert.rejects(issueX509Svid({ ...usual(), verdict: refused }), code('issuance.untrusted'));
});

test('what only looks like a verdict issues nothing', async () => {
  const shape = { trusted: true, findings: [], selectors: [], evidenceTime: NOW, subject: CONTAINER };
  const heir = Object.create(Verdict.prototype, { trusted: { value: true }, evidenceTime: { value: NOW } });
  for (const fake of [shape, { ...trusted }, structuredClone(shape), heir, undefined, null, true]) {
    const verdict = fake as unknown as Verdict;
    await assert.rejects(issueX509Svid({ ...usual(), verdict }), code('issuance.untrusted'));
    await assert.rejects(issueAgentSvid({ ...usual(), verdict, ekSha256Hex: EK, csr }), code('issuance.untrusted'));
  }
});

test('a verdict over the host issues no workload, and one over a container no agent', async () => {
  const host = concludeVerdict('host', [], [], NOW);
  await assert.rejects(issueX509Svid({ ...usual(), verdict: host }), code('issuance.untrusted'));
  await assert.rejects(issueAgentSvid({ ...usual(), ekSha256Hex: EK, csr }), code('issuance.untrusted'));
  const agent = await issueAgentSvid({ ...usual(), verdict: host, ekSha256Hex: EK, csr });
  assert.equal(agent.spiffeId.uri, `spiffe://lab.example/spire/agent/lacre_tpm/${'ab'.repeat(16)}`);
});

test('an SVID ends at evidence + TTL, not at now + TTL', async () => {
  const fresh = await issueX509Svid(usual());
  assert.deepEqual(fresh.notAfter, seconds(NOW, 300));
  assert.deepEqual(fresh.notBefore, seconds(NOW, -10));
  const later = await issueX509Svid({ ...usual(), now: seconds(NOW, 100) });
  assert.deepEqual(later.notAfter, seconds(NOW, 300));
  const older = await issueX509Svid({ ...usual(), evidenceTime: seconds(NOW, -200) });
  assert.deepEqual(older.notAfter, seconds(NOW, 100));
  const newer = await issueX509Svid({ ...usual(), now: seconds(NOW, 100), evidenceTime: seconds(NOW, 50) });
  assert.deepEqual(newer.notAfter, seconds(NOW, 300), 'a later time than the verdict’s own counts for nothing');
});

test('evidence older than the TTL, or from the future, issues nothing', async () => {
  await assert.rejects(issueX509Svid({ ...usual(), now: seconds(NOW, 300) }), code('issuance.stale'));
  await assert.rejects(issueX509Svid({ ...usual(), now: seconds(NOW, 9_999) }), code('issuance.stale'));
  await assert.rejects(issueX509Svid({ ...usual(), now: seconds(NOW, -1) }), code('issuance.refused'));
  const never = concludeVerdict(CONTAINER, [], [], new Date(Number.NaN));
  await assert.rejects(issueX509Svid({ ...usual(), verdict: never }), code('issuance.refused'));
});

test('an SVID never outlives its authority, and an ended authority issues nothing', async () => {
  const short = makeAuthority(60_000);
  assert.deepEqual((await issueX509Svid({ ...usual(), authority: short })).notAfter, seconds(NOW, 60));
  const later = concludeVerdict(CONTAINER, [], [], seconds(NOW, 60));
  await assert.rejects(
    issueX509Svid({ ...usual(), verdict: later, authority: short, now: seconds(NOW, 60) }),
    code('issuance.stale'),
  );
});

test('before its authority nothing lives', async () => {
  const later = makeAuthority(86_400_000, seconds(NOW, 120));
  await assert.rejects(issueX509Svid({ ...usual(), authority: later }), code('issuance.stale'));
  const verdict = concludeVerdict(CONTAINER, [], [], seconds(NOW, 60));
  const first = await issueX509Svid({ ...usual(), authority: later, verdict, now: seconds(NOW, 60) });
  assert.deepEqual(first.notBefore, seconds(NOW, 60), 'not backdated beyond it');
});

test('an SVID of one second is the shortest', async () => {
  const svid = await issueX509Svid({ ...usual(), ttlSeconds: 1 });
  assert.deepEqual(svid.notAfter, seconds(NOW, 1));
  const whole = new Date(NOW.getTime() + 999);
  const verdict = concludeVerdict(CONTAINER, [], [], whole);
  const odd = await issueX509Svid({ ...usual(), verdict, now: whole, ttlSeconds: 1 });
  assert.deepEqual([odd.notBefore, odd.notAfter], [seconds(NOW, -10), seconds(NOW, 1)], 'whole seconds, downwards');
});

test('64 DNS names are the most', async () => {
  const dnsNames = Array.from({ length: 64 }, (_, index) => `a${index}.example`);
  const { certificate } = await issueX509Svid({ ...usual(), dnsNames });
  const { subjectAltName = '' } = new X509Certificate(certificate);
  assert.deepEqual(
    subjectAltName.split(', ').slice(1),
    dnsNames.map((name) => `DNS:${name}`),
  );
});

test('a leaf is critical in its names, its constraints and its key usage, and in nothing else', async () => {
  const { certificate, serialHex } = await issueX509Svid({
    ...usual(),
    serial: new Uint8Array([0, 0, ...randomBytes(14)]),
  });
  const { criticalNames, criticalKeyUsage, unknownCritical, keyUsage, ...fields } = parseCertificateFields(certificate);
  assert.deepEqual([criticalNames, criticalKeyUsage, unknownCritical, keyUsage], [true, true, [], 0x80]);
  assert.deepEqual([fields.isCa, fields.pathLength, fields.emptySubject], [false, undefined, true]);
  assert.doesNotMatch(serialHex, /^00/);
  const hex = Buffer.from(certificate).toString('hex');
  assert.match(hex, /0603551d130101ff04023000/, 'critical basic constraints, empty');
  assert.match(hex, /0603551d250416/, 'extended key usage, not critical');
  assert.match(hex, /0603551d0f0101ff040403020780/, 'critical key usage, seven bits unused');
});

test('names and keys that the authority must not sign are refused', async () => {
  const wrong: [Partial<ReturnType<typeof usual> & { dnsNames: string[] }>, Parameters<typeof code>[0]][] = [
    [{ spiffeId: SpiffeId.parse('spiffe://other.example/orders') }, 'issuance.refused'],
    [{ spiffeId: SpiffeId.parse('spiffe://lab.example') }, 'issuance.refused'],
    [{ spiffeId: SpiffeId.parse('spiffe://lab.example/spire/server') }, 'issuance.refused'],
    [{ spiffeId: SpiffeId.parse('spiffe://lab.example/spire/agent/x') }, 'issuance.refused'],
    [{ spiffeId: { uri: 'spiffe://lab.example/a', path: '/a' } as unknown as SpiffeId }, 'issuance.refused'],
    [{ dnsNames: ['a b'] }, 'issuance.refused'],
    [{ dnsNames: [''] }, 'issuance.refused'],
    [{ dnsNames: Array.from({ length: 65 }, (_, index) => `a${index}.example`) }, 'issuance.refused'],
    [{ publicKey: new Uint8Array(10) }, 'identity.der.malformed'],
    [{ publicKey: new Uint8Array([...publicKey, 0]) }, 'identity.der.malformed'],
    [{ serial: randomBytes(8) }, 'issuance.refused'],
    [{ serial: Buffer.alloc(16) }, 'issuance.refused'],
    [{ ttlSeconds: 0 }, 'issuance.refused'],
    [{ ttlSeconds: 1.5 }, 'issuance.refused'],
    [{ ttlSeconds: Number.POSITIVE_INFINITY }, 'issuance.refused'],
    [{ authority: { trustDomain: authority.trustDomain } as unknown as SigningAuthority }, 'issuance.refused'],
  ];
  for (const [change, expected] of wrong) {
    await assert.rejects(issueX509Svid({ ...usual(), ...change }), code(expected), JSON.stringify(Object.keys(change)));
  }
});

test('an agent needs a request whose signature was verified', async () => {
  const verdict = concludeVerdict('host', [], [], NOW);
  const fake = { publicKey: csr.publicKey, key: csr.key } as unknown as VerifiedCsr;
  await assert.rejects(issueAgentSvid({ ...usual(), verdict, ekSha256Hex: EK, csr: fake }), code('issuance.refused'));
  for (const ekSha256Hex of ['ab', `0${EK}`, `${EK}0`, EK.toUpperCase()])
    await assert.rejects(issueAgentSvid({ ...usual(), verdict, ekSha256Hex, csr }), code('issuance.refused'));
});

test("the server's own SVID has the one name that agents ask for", () => {
  const svid = issueServerSvid({ authority, now: NOW, ttlSeconds: 3600, serial: randomBytes(16), publicKey });
  assert.equal(svid.spiffeId.uri, 'spiffe://lab.example/spire/server');
  for (const fake of [{ trustDomain: authority.trustDomain }, {}] as unknown as SigningAuthority[]) {
    const input = { authority: fake, now: NOW, ttlSeconds: 60, serial: randomBytes(16), publicKey };
    assert.throws(() => issueServerSvid(input), code('issuance.refused'));
  }
});

test('an authority is opened with its own key only, and shows no key in a log', () => {
  const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  assert.throws(() => SigningAuthority.open(authority.certificate, other), code('issuance.authority.invalid'));
  assert.deepEqual(Object.keys(JSON.parse(JSON.stringify({ authority })).authority), [
    'trustDomain',
    'keyId',
    'notAfter',
  ]);
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  assert.throws(() => SigningAuthority.open(authority.certificate, rsa), code('issuance.authority.invalid'));
});

test('a leaf is no authority', () => {
  const key = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const spkiBytes = new Uint8Array(key.publicKey.export({ format: 'der', type: 'spki' }));
  const { certificate } = issueServerSvid({
    authority,
    now: NOW,
    ttlSeconds: 60,
    serial: randomBytes(16),
    publicKey: spkiBytes,
  });
  assert.throws(() => SigningAuthority.open(certificate, key.privateKey), code('issuance.authority.invalid'));
});
