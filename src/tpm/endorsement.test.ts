import assert from 'node:assert/strict';
import { generateKeyPairSync, KeyObject, webcrypto, X509Certificate } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { AsnConvert, AsnSerializer } from '@peculiar/asn1-schema';
import { Certificate } from '@peculiar/asn1-x509';
import {
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { EK_ATTRIBUTES, forgePublicArea } from '../../test/simulator/soft-key.ts';
import { fromHex } from '../bytes/hex.ts';
import { sha256Hex } from '../bytes/sha256.ts';
import { certificateSpki, parseEndorsementCertificate } from './certificate.ts';
import { type EndorsementRoot, ekSha256Hex, VerifiedEndorsement, verifyEndorsement } from './endorsement.ts';
import { parsePublicArea } from './public-area.ts';

interface EndorsementVector {
  note: string;
  certificateHex: string;
  ekPublicHex: string;
  intermediatesHex: string[];
  rootsHex: string[];
  now: string;
  verdict: string;
}

const folder = new URL('../../vectors/tpm/endorsement/', import.meta.url);

function load(file: string): EndorsementVector {
  return JSON.parse(readFileSync(new URL(file, folder), 'utf8'));
}

function inputOf(vector: EndorsementVector) {
  return {
    certificate: fromHex(vector.certificateHex),
    intermediates: vector.intermediatesHex.map((hex) => fromHex(hex)),
    roots: vector.rootsHex.map((hex) => rootOf(fromHex(hex))),
    ek: parsePublicArea(fromHex(vector.ekPublicHex)),
    now: new Date(vector.now),
  };
}

function rootOf(der: Uint8Array, tier: EndorsementRoot['tier'] = 'software'): EndorsementRoot {
  return { certificate: new X509Certificate(der), tier };
}

for (const file of readdirSync(folder)) {
  const vector = load(file);
  test(`endorsement ${file}: ${vector.note}`, () => {
    if (vector.verdict !== 'verified') {
      assert.throws(() => verifyEndorsement(inputOf(vector)), { code: vector.verdict });
      return;
    }
    const input = inputOf(vector);
    const endorsement = verifyEndorsement(input);
    assert.ok(VerifiedEndorsement.isVerified(endorsement));
    assert.equal(endorsement.rootOfTrust, 'software');
    assert.equal(endorsement.ekSha256Hex, sha256Hex(input.ek.spki));
    assert.equal(endorsement.facts.model, 'swtpm');
    assert.equal(endorsement.facts.manufacturer, 'id:00001014');
    assert.equal(endorsement.facts.chain.length, 2 + vector.intermediatesHex.length);
  });
}

test('the tier is that of the root which ends the chain', () => {
  const input = inputOf(load('guest-rsa.json'));
  const [own] = input.roots;
  const other = inputOf(load('podman-rsa.json')).roots;
  assert.ok(own);
  const roots = [...other, { ...own, tier: 'vtpm' as const }];
  assert.equal(verifyEndorsement({ ...input, roots }).rootOfTrust, 'vtpm');
});

test('a certificate cut anywhere is malformed or for another key, never verified', () => {
  const input = inputOf(load('guest-rsa.json'));
  for (let length = 0; length < input.certificate.length; length++) {
    const certificate = input.certificate.subarray(0, length);
    assert.throws(() => verifyEndorsement({ ...input, certificate }), { code: 'tpm.endorsement.certificate' });
  }
  const huge = new Uint8Array(20_000);
  assert.throws(() => verifyEndorsement({ ...input, certificate: huge }), { code: 'tpm.endorsement.certificate' });
});

test('any flipped bit of a certificate is refused', () => {
  const input = inputOf(load('guest-rsa.json'));
  for (let bit = 0; bit < 8 * input.certificate.length; bit += 7) {
    const certificate = input.certificate.slice();
    certificate[bit >> 3] = (certificate[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    assert.throws(() => verifyEndorsement({ ...input, certificate }), { name: 'LacreError' }, `bit ${bit}`);
  }
});

test('more intermediates than any chain needs are refused unread', () => {
  const input = inputOf(load('guest-rsa.json'));
  const intermediates = Array.from({ length: 9 }, () => new Uint8Array([1]));
  assert.throws(() => verifyEndorsement({ ...input, intermediates }), { code: 'tpm.endorsement.certificate' });
});

interface Party {
  readonly name: string;
  readonly keys: CryptoKeyPair;
  readonly der: Uint8Array;
}
type CryptoKeyPair = webcrypto.CryptoKeyPair;

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const NOW = new Date('2026-12-01T00:00:00Z');
const EK_CERTIFICATE = '2.23.133.8.1';

interface PartyOptions {
  readonly ca?: boolean;
  readonly pathLength?: number;
  readonly usage?: KeyUsageFlags | undefined;
  readonly extended?: string[];
  readonly extension?: Extension;
  readonly notAfter?: Date;
  readonly publicKey?: webcrypto.CryptoKey;
}

async function issue(name: string, issuer: Party | undefined, options: PartyOptions = {}): Promise<Party> {
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const ca = options.ca ?? true;
  const usage = 'usage' in options ? options.usage : ca ? KeyUsageFlags.keyCertSign : KeyUsageFlags.keyAgreement;
  const certificate = await X509CertificateGenerator.create(
    {
      serialNumber: '01',
      subject: `CN=${name}`,
      issuer: `CN=${issuer?.name ?? name}`,
      notBefore: new Date('2026-01-01T00:00:00Z'),
      notAfter: options.notAfter ?? new Date('2036-01-01T00:00:00Z'),
      publicKey: options.publicKey ?? keys.publicKey,
      signingKey: issuer?.keys.privateKey ?? keys.privateKey,
      signingAlgorithm: ALGORITHM,
      extensions: [
        new BasicConstraintsExtension(ca, options.pathLength, true),
        ...(usage === undefined ? [] : [new KeyUsagesExtension(usage, true)]),
        ...(options.extended === undefined ? [] : [new ExtendedKeyUsageExtension(options.extended)]),
        ...(options.extension === undefined ? [] : [options.extension]),
      ],
    },
    webcrypto as unknown as Crypto,
  );
  return { name, keys, der: new Uint8Array(certificate.rawData) };
}

async function ekKey() {
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const ek = parsePublicArea(
    forgePublicArea(KeyObject.from(keys.publicKey), {
      attributes: EK_ATTRIBUTES,
      cipherBits: 128,
    }),
  );
  return { publicKey: keys.publicKey, ek };
}

async function attempt(root: Party, below: Party[], leaf: PartyOptions = {}, roots: Party[] = [root]): Promise<string> {
  const { publicKey, ek } = await ekKey();
  const certificate = await issue('EK', below.at(-1) ?? root, {
    ca: false,
    extended: [EK_CERTIFICATE],
    publicKey,
    ...leaf,
  });
  const intermediates = below.map((party) => party.der);
  try {
    const input = {
      certificate: certificate.der,
      intermediates,
      roots: roots.map((party) => rootOf(party.der)),
      ek,
      now: NOW,
    };
    verifyEndorsement(input);
    return 'verified';
  } catch (error) {
    return (error as { code: string }).code;
  }
}

test('a chain of several issuers verifies, in whatever order they come', async () => {
  const root = await issue('root', undefined);
  const a = await issue('a', root);
  const b = await issue('b', a);
  assert.equal(await attempt(root, []), 'verified');
  assert.equal(await attempt(root, [a]), 'verified');
  const { publicKey, ek } = await ekKey();
  const leaf = await issue('EK', b, { ca: false, extended: [EK_CERTIFICATE], publicKey });
  const input = { certificate: leaf.der, roots: [rootOf(root.der)], ek, now: NOW };
  assert.ok(verifyEndorsement({ ...input, intermediates: [b.der, a.der] }));
  assert.ok(verifyEndorsement({ ...input, intermediates: [a.der, b.der] }));
});

test('an issuer must be a CA, may sign certificates, keeps its path length', async () => {
  const root = await issue('root', undefined);
  assert.equal(await attempt(root, [await issue('a', root, { ca: false })]), 'tpm.endorsement.chain');
  const noSign = await issue('a', root, { usage: KeyUsageFlags.digitalSignature });
  assert.equal(await attempt(root, [noSign]), 'tpm.endorsement.chain');
  assert.equal(await attempt(root, [await issue('a', root, { usage: undefined })]), 'verified');
  assert.equal(
    await attempt(root, [await issue('a', root, { extended: ['1.3.6.1.5.5.7.3.1'] })]),
    'tpm.endorsement.chain',
  );
  assert.equal(await attempt(root, [await issue('a', root, { extended: [EK_CERTIFICATE] })]), 'verified');
  const narrow = await issue('narrow', undefined, { pathLength: 0 });
  assert.equal(await attempt(narrow, []), 'verified');
  assert.equal(await attempt(narrow, [await issue('a', narrow)]), 'tpm.endorsement.chain');
});

test('critical extensions that are not understood are refused, on issuers and on the EK certificate', async () => {
  const root = await issue('root', undefined);
  const unknown = new Extension('1.2.3.4', true, new Uint8Array([5, 0]));
  const harmless = new Extension('1.2.3.4', false, new Uint8Array([5, 0]));
  assert.equal(await attempt(root, [await issue('a', root, { extension: unknown })]), 'tpm.endorsement.chain');
  assert.equal(await attempt(root, [await issue('a', root, { extension: harmless })]), 'verified');
  assert.equal(await attempt(root, [], { extension: unknown }), 'tpm.endorsement.usage');
  assert.equal(await attempt(root, [], { extension: harmless }), 'verified');
});

test('an expired issuer or root ends the chain, and the error says which', async () => {
  const root = await issue('root', undefined);
  const past = new Date('2026-11-30T00:00:00Z');
  assert.equal(await attempt(root, [await issue('a', root, { notAfter: past })]), 'tpm.endorsement.expired');
  assert.equal(await attempt(await issue('root', undefined, { notAfter: past }), []), 'tpm.endorsement.expired');
  assert.equal(await attempt(root, [], { notAfter: past }), 'tpm.endorsement.expired');
});

test('a certificate for another purpose is no EK certificate', async () => {
  const root = await issue('root', undefined);
  assert.equal(await attempt(root, [], { extended: ['2.23.133.8.3'] }), 'tpm.endorsement.usage');
  assert.equal(await attempt(root, [], { extended: ['2.5.29.37.0'] }), 'verified');
  assert.equal(await attempt(root, [], { ca: true, usage: KeyUsageFlags.keyAgreement }), 'tpm.endorsement.usage');
  assert.equal(await attempt(root, [], { usage: KeyUsageFlags.keyEncipherment }), 'tpm.endorsement.usage');
  assert.equal(await attempt(root, [], { usage: undefined }), 'verified');
});

test('many intermediates of one name cost a bounded number of signatures', async () => {
  const root = await issue('root', undefined);
  const crowd = await Promise.all(Array.from({ length: 8 }, () => issue('crowd', undefined)));
  const started = performance.now();
  assert.equal(await attempt(root, crowd), 'tpm.endorsement.chain');
  assert.ok(performance.now() - started < 2_000);
});

test('an EK certificate that states id-RSAES-OAEP holds the same key', () => {
  const vector = load('guest-rsa.json');
  const certificate = AsnConvert.parse(fromHex(vector.certificateHex), Certificate);
  const info = certificate.tbsCertificate.subjectPublicKeyInfo;
  info.algorithm.algorithm = '1.2.840.113549.1.1.7';
  const der = new Uint8Array(AsnSerializer.serialize(certificate));
  assert.ok(Buffer.from(der).includes(Buffer.from('06092a864886f70d010107', 'hex')));
  const ek = parsePublicArea(fromHex(vector.ekPublicHex));
  assert.deepEqual(certificateSpki(der), ek.spki);
});

test('the inventory key is SHA-256 of the SubjectPublicKeyInfo', () => {
  const { publicKey }: { publicKey: KeyObject } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const spki = new Uint8Array(publicKey.export({ type: 'spki', format: 'der' }));
  assert.equal(ekSha256Hex(spki), sha256Hex(spki));
  const vector = load('guest-rsa.json');
  assert.deepEqual(certificateSpki(fromHex(vector.certificateHex)), parsePublicArea(fromHex(vector.ekPublicHex)).spki);
});

test('an extension that occurs twice is malformed', () => {
  const certificate = AsnConvert.parse(fromHex(load('guest-rsa.json').certificateHex), Certificate);
  const { extensions } = certificate.tbsCertificate;
  const [first] = extensions ?? [];
  assert.ok(first && extensions);
  extensions.push(first);
  const der = new Uint8Array(AsnSerializer.serialize(certificate));
  assert.throws(() => parseEndorsementCertificate(der), { code: 'tpm.endorsement.certificate' });
});
