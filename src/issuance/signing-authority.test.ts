import assert from 'node:assert/strict';
import { createPrivateKey, generateKeyPairSync, randomBytes, X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { sha256Hex } from '../bytes/sha256.ts';
import { parseCertificateFields } from '../identity/certificate-fields.ts';
import {
  authority as ca,
  makeCertificate,
  SIGNS_CERTIFICATES,
  SIGNS_DATA,
  uris,
} from '../identity/certificate-fixture.ts';
import { TrustDomain } from '../identity/trust-domain.ts';
import { isLacreError } from '../lacre-error.ts';
import { SigningAuthority } from './signing-authority.ts';

const NOW = new Date('2026-05-01T12:00:00.000Z');
const subject = { organization: 'Lacre', commonName: 'test' };
const p256 = () => generateKeyPairSync('ec', { namedCurve: 'P-256' });

function create(over: Partial<Parameters<typeof SigningAuthority.create>[0]> = {}): SigningAuthority {
  const { privateKey: key } = p256();
  const trustDomain = TrustDomain.parse('lab.example');
  return SigningAuthority.create({
    trustDomain,
    key,
    serial: randomBytes(16),
    now: NOW,
    ttlMs: 86_400_000,
    subject,
    ...over,
  });
}

function outcome(make: () => SigningAuthority): string {
  try {
    return make().trustDomain.name;
  } catch (error) {
    assert.ok(isLacreError(error), String(error));
    return error.code;
  }
}

test('an authority is a CA that may sign certificates, with the SPIFFE ID of one trust domain', () => {
  const open = (...extensions: Uint8Array[]) => {
    const { certificate, key } = makeCertificate('authority', { extensions });
    return outcome(() => SigningAuthority.open(certificate, key));
  };
  const domain = uris('spiffe://lab.example');
  assert.equal(open(ca(), SIGNS_CERTIFICATES, domain), 'lab.example');
  const none = 'issuance.authority.invalid';
  for (const [why, expected, ...extensions] of [
    ['no CA', none, SIGNS_CERTIFICATES, domain],
    ['no key usage', none, ca(), domain],
    ['a key usage without signing certificates', none, ca(), SIGNS_DATA, domain],
    ['no name', none, ca(), SIGNS_CERTIFICATES],
    ['two names', none, ca(), SIGNS_CERTIFICATES, uris('spiffe://lab.example', 'spiffe://lab.example')],
    ['a name of another kind', none, ca(), SIGNS_CERTIFICATES, uris('https://xx.lab.example')],
    ['a name with a path', 'identity.trust-domain.malformed', ca(), SIGNS_CERTIFICATES, uris('spiffe://lab.example/a')],
  ] as const)
    assert.equal(open(...extensions), expected, why);
});

test('the key is the P-256 private key of the certificate', () => {
  const trustDomain = TrustDomain.parse('lab.example');
  const invalid = 'issuance.authority.invalid';
  const pair = p256();
  const bad = [
    pair.publicKey,
    generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey,
    generateKeyPairSync('ed25519').privateKey,
    generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey,
  ];
  const made = create({ key: pair.privateKey });
  for (const key of bad) {
    assert.equal(
      outcome(() => create({ trustDomain, key })),
      invalid,
    );
    assert.equal(
      outcome(() => SigningAuthority.open(made.certificate, key)),
      invalid,
    );
  }
  assert.equal(
    outcome(() => SigningAuthority.open(made.certificate, p256().privateKey)),
    invalid,
  );
  assert.equal(
    outcome(() => SigningAuthority.open(made.certificate, pair.privateKey)),
    'lab.example',
  );
});

test('what is made is opened again with the key that is kept', () => {
  const made = create();
  const key = createPrivateKey({ key: Buffer.from(made.exportKey()), format: 'der', type: 'pkcs8' });
  const again = SigningAuthority.open(made.certificate, key);
  assert.ok(SigningAuthority.is(again));
  assert.deepEqual(JSON.parse(JSON.stringify(again)), JSON.parse(JSON.stringify(made)));
  assert.deepEqual([again.subject, again.keyIdentifierExtension], [made.subject, made.keyIdentifierExtension]);
  for (const other of [undefined, null, 1, 'x', { ...made }]) assert.ok(!SigningAuthority.is(other));
});

test('a new authority lives from a minute before now for its time, under the name that was given', () => {
  const { certificate, notBefore, notAfter } = create();
  assert.deepEqual([notBefore, notAfter], [new Date('2026-05-01T11:59:00Z'), new Date('2026-05-02T12:00:00Z')]);
  const read = new X509Certificate(certificate);
  assert.equal(read.subject, 'O=Lacre\nCN=test');
  assert.equal(read.issuer, read.subject);
  const { criticalNames, criticalKeyUsage, unknownCritical, pathLength } = parseCertificateFields(certificate);
  assert.deepEqual([criticalNames, criticalKeyUsage, unknownCritical, pathLength], [false, true, [], 0]);
  const hex = Buffer.from(certificate).toString('hex');
  assert.match(hex, /0603551d0f0101ff040403020106/, 'keyCertSign and cRLSign, and no bit besides');
  assert.match(hex, /060355040a0c054c61637265/, 'the organization in UTF-8');
});

test('the key identifier is 160 bits of SHA-256 over the key itself (RFC 7093, 2, method 1)', () => {
  const made = create();
  const own = new X509Certificate(made.certificate).publicKey.export({ format: 'der', type: 'spki' }).subarray(-65);
  assert.equal(made.keyIdHex, sha256Hex(own).slice(0, 40));
});
