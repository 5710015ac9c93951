import assert from 'node:assert/strict';
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { AsnConvert, AsnSerializer, OctetString } from '@peculiar/asn1-schema';
import {
  AttributeTypeAndValue,
  AttributeValue,
  Certificate,
  Extension,
  GeneralName,
  id_ce_subjectAltName,
  KeyUsageFlags,
  Name,
  RelativeDistinguishedName,
  SubjectAlternativeName,
} from '@peculiar/asn1-x509';
import {
  issueCertificate,
  type Party,
  type PartyOptions,
  unknownExtension,
} from '../../test/simulator/soft-certificate.ts';
import { EK_ATTRIBUTES, forgePublicArea } from '../../test/simulator/soft-key.ts';
import { fromHex } from '../bytes/hex.ts';
import { sha256Hex } from '../bytes/sha256.ts';
import { certificateSpki, parseEndorsementCertificate } from './certificate.ts';
import {
  type AllowedTpm,
  type EndorsementRoot,
  ekSha256Hex,
  VerifiedEndorsement,
  verifyEndorsement,
} from './endorsement.ts';
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

const NOW = new Date('2026-12-01T00:00:00Z');
const EK_CERTIFICATE = '2.23.133.8.1';

function ca(name: string, issuer?: Party, options: PartyOptions = {}): Party {
  return issueCertificate(name, issuer, { usage: KeyUsageFlags.keyCertSign, ...options });
}

/** An EK on P-256 and its certificate by `issuer`. */
function endorsed(issuer: Party, options: PartyOptions = {}) {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const ek = parsePublicArea(forgePublicArea(publicKey, { attributes: EK_ATTRIBUTES, cipherBits: 128 }));
  const usual = { isCa: false, usage: KeyUsageFlags.keyAgreement, extendedUsage: [EK_CERTIFICATE], publicKey };
  return { ek, certificate: issueCertificate('EK', issuer, { ...usual, ...options }).certificate };
}

function attempt(root: Party, below: Party[], leaf: PartyOptions = {}): string {
  const intermediates = below.map((party) => party.certificate);
  try {
    const roots = [rootOf(root.certificate)];
    verifyEndorsement({ ...endorsed(below.at(-1) ?? root, leaf), intermediates, roots, now: NOW });
    return 'verified';
  } catch (error) {
    return (error as { code: string }).code;
  }
}

test('a chain of several issuers verifies, in whatever order they come', () => {
  const root = ca('root');
  const a = ca('a', root);
  const b = ca('b', a);
  assert.equal(attempt(root, []), 'verified');
  assert.equal(attempt(root, [a]), 'verified');
  const input = { ...endorsed(b), roots: [rootOf(root.certificate)], now: NOW };
  assert.ok(verifyEndorsement({ ...input, intermediates: [b.certificate, a.certificate] }));
  assert.ok(verifyEndorsement({ ...input, intermediates: [a.certificate, b.certificate] }));
});

test('an issuer must be a CA, may sign certificates, keeps its path length', () => {
  const root = ca('root');
  assert.equal(attempt(root, [ca('a', root, { isCa: false })]), 'tpm.endorsement.chain');
  assert.equal(attempt(root, [ca('a', root, { usage: KeyUsageFlags.digitalSignature })]), 'tpm.endorsement.chain');
  assert.equal(attempt(root, [ca('a', root, { usage: undefined })]), 'verified');
  assert.equal(attempt(root, [ca('a', root, { extendedUsage: ['1.3.6.1.5.5.7.3.1'] })]), 'tpm.endorsement.chain');
  assert.equal(attempt(root, [ca('a', root, { extendedUsage: [EK_CERTIFICATE] })]), 'verified');
  const narrow = ca('narrow', undefined, { pathLength: 0 });
  assert.equal(attempt(narrow, []), 'verified');
  assert.equal(attempt(narrow, [ca('a', narrow)]), 'tpm.endorsement.chain');
});

test('critical extensions that are not understood are refused, on issuers and on the EK certificate', () => {
  const root = ca('root');
  const unknown = { extension: unknownExtension(true) };
  const harmless = { extension: unknownExtension(false) };
  assert.equal(attempt(root, [ca('a', root, unknown)]), 'tpm.endorsement.chain');
  assert.equal(attempt(root, [ca('a', root, harmless)]), 'verified');
  assert.equal(attempt(root, [], unknown), 'tpm.endorsement.usage');
  assert.equal(attempt(root, [], harmless), 'verified');
});

test('an expired issuer, root or EK certificate ends the chain', () => {
  const root = ca('root');
  const past = { notAfter: new Date('2026-11-30T00:00:00Z') };
  assert.equal(attempt(root, [ca('a', root, past)]), 'tpm.endorsement.expired');
  assert.equal(attempt(ca('root', undefined, past), []), 'tpm.endorsement.expired');
  assert.equal(attempt(root, [], past), 'tpm.endorsement.expired');
});

test('where the operator accepts expired certificates, the chain must hold all the same', () => {
  const past = { notAfter: new Date('2026-11-30T00:00:00Z') };
  const root = ca('root', undefined, past);
  const issuer = ca('issuer', root, past);
  const input = {
    ...endorsed(issuer, past),
    intermediates: [issuer.certificate],
    roots: [rootOf(root.certificate)],
    now: NOW,
  };
  const policy = { expired: 'accept', allow: [] } as const;
  assert.ok(verifyEndorsement({ ...input, policy }));
  assert.throws(() => verifyEndorsement({ ...input, policy: { ...policy, expired: 'refuse' } }), {
    code: 'tpm.endorsement.expired',
  });
  assert.throws(() => verifyEndorsement({ ...input, policy, roots: [rootOf(ca('root').certificate)] }), {
    code: 'tpm.endorsement.chain',
  });
  const early = new Date('2025-12-31T00:00:00Z');
  assert.throws(() => verifyEndorsement({ ...input, policy, now: early }), { code: 'tpm.endorsement.expired' });
});

/** Subject alternative name with the TPM's maker, model and version (EK Credential Profile, 3.2.9). */
function tpmNames(manufacturer: string, model: string, version: string): Extension {
  const attribute = (type: string, text: string) =>
    new RelativeDistinguishedName([
      new AttributeTypeAndValue({ type, value: new AttributeValue({ utf8String: text }) }),
    ]);
  const directoryName = new Name([
    attribute('2.23.133.2.1', manufacturer),
    attribute('2.23.133.2.2', model),
    attribute('2.23.133.2.3', version),
  ]);
  const names = new SubjectAlternativeName([new GeneralName({ directoryName })]);
  return new Extension({
    extnID: id_ce_subjectAltName,
    critical: true,
    extnValue: new OctetString(AsnConvert.serialize(names)),
  });
}

test('an allow list holds makers, models and versions, as the certificate has them or by the letters of the maker', () => {
  const root = ca('root');
  const extension = tpmNames('id:494E5443', 'ADL', 'id:00020000');
  const input = { ...endorsed(root, { extension }), intermediates: [], roots: [rootOf(root.certificate)], now: NOW };
  const allowed = (...allow: AllowedTpm[]) => {
    try {
      return verifyEndorsement({ ...input, policy: { expired: 'refuse', allow } }).facts.model;
    } catch (error) {
      return (error as { code: string }).code;
    }
  };
  assert.equal(allowed(), 'ADL');
  assert.equal(allowed({ manufacturer: 'INTC' }), 'ADL');
  assert.equal(allowed({ manufacturer: 'id:494e5443', model: 'ADL', version: 'id:00020000' }), 'ADL');
  assert.equal(allowed({ model: 'other' }, { model: 'ADL' }), 'ADL');
  assert.equal(allowed({ manufacturer: '', model: 'ADL', version: '' }), 'ADL');
  assert.equal(allowed({ manufacturer: 'IFX' }), 'tpm.endorsement.disallowed');
  assert.equal(allowed({ manufacturer: 'INTC', model: 'other' }), 'tpm.endorsement.disallowed');
  assert.equal(allowed({ manufacturer: 'INTC', version: 'id:00010000' }), 'tpm.endorsement.disallowed');
  const nameless = { ...input, ...endorsed(root) };
  assert.throws(() => verifyEndorsement({ ...nameless, policy: { expired: 'refuse', allow: [{ model: 'ADL' }] } }), {
    code: 'tpm.endorsement.disallowed',
  });
});

test('the letters of a maker are those of eight hexadecimal digits after id:, without what fills them up', () => {
  const root = ca('root');
  const roots = [rootOf(root.certificate)];
  for (const [stated, letters, fits] of [
    ['id:49465800', 'IFX', true],
    ['ID:4e544320', 'ntc', true],
    ['id:41002042', 'A\0 B', true],
    ['id:41002042', 'A\0B', false],
    ['xid:494E5443', 'INTC', false],
    ['id:494E544300', 'INTC', false],
    ['id:494E54', 'INT', false],
    ['INTC', 'INTC', true],
  ] as const) {
    const extension = tpmNames(stated, 'm', 'v');
    const policy = { expired: 'refuse', allow: [{ manufacturer: letters }] } as const;
    const verify = () =>
      verifyEndorsement({ ...endorsed(root, { extension }), intermediates: [], roots, now: NOW, policy });
    if (fits) assert.equal(verify().facts.manufacturer, stated);
    else assert.throws(verify, { code: 'tpm.endorsement.disallowed' }, stated);
  }
});

test('a verified endorsement has the key and the facts of its certificate, names on one line', () => {
  const root = ca('Maker/root');
  const issuer = ca('Maker/issuer', root);
  const input = {
    ...endorsed(issuer, { serial: Uint8Array.of(0x1a, 0xbc) }),
    intermediates: [issuer.certificate],
    roots: [rootOf(root.certificate, 'hardware')],
    now: NOW,
  };
  const verified = verifyEndorsement(input);
  assert.equal(verified.ek, input.ek);
  assert.equal(VerifiedEndorsement.isVerified({ ...verified }), false);
  assert.deepEqual([verified.rootOfTrust, verified.ekSha256Hex], ['hardware', sha256Hex(input.ek.spki)]);
  assert.deepEqual(verified.facts, {
    manufacturer: '',
    model: '',
    version: '',
    serialHex: '1abc',
    issuer: 'O=Maker, CN=issuer',
    chain: ['CN=EK', 'O=Maker, CN=issuer', 'O=Maker, CN=root'],
  });
});

test('a certificate for another purpose is no EK certificate', () => {
  const root = ca('root');
  assert.equal(attempt(root, [], { extendedUsage: ['2.23.133.8.3'] }), 'tpm.endorsement.usage');
  assert.equal(attempt(root, [], { extendedUsage: ['2.5.29.37.0'] }), 'verified');
  assert.equal(attempt(root, [], { isCa: true }), 'tpm.endorsement.usage');
  assert.equal(attempt(root, [], { usage: KeyUsageFlags.keyEncipherment }), 'tpm.endorsement.usage');
  assert.equal(attempt(root, [], { usage: undefined }), 'verified');
});

test('many intermediates of one name cost a bounded number of signatures', () => {
  const root = ca('root');
  const crowd = Array.from({ length: 8 }, () => ca('crowd'));
  const started = performance.now();
  assert.equal(attempt(root, crowd), 'tpm.endorsement.chain');
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
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
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

test('a chain deeper than any maker has is not followed; nobody else makes a verified endorsement', () => {
  const root = ca('root');
  const issuers = [ca('i0', root)];
  for (let depth = 1; depth < 8; depth++) issuers.push(ca(`i${depth}`, issuers.at(-1)));
  assert.equal(attempt(root, issuers.slice(0, 5)), 'verified');
  assert.equal(attempt(root, issuers), 'tpm.endorsement.chain');
  const { ek } = endorsed(root);
  assert.throws(() => Reflect.construct(VerifiedEndorsement, [Symbol('other'), ek, 'hardware', {}]), TypeError);
});

test('alternative names that are no directory names say nothing of the chip', () => {
  const names = new SubjectAlternativeName([new GeneralName({ dNSName: 'tpm.example' })]);
  const extnValue = new OctetString(AsnSerializer.serialize(names));
  const extension = new Extension({ extnID: '2.5.29.17', critical: false, extnValue });
  const { certificate } = issueCertificate('x', undefined, { extension });
  assert.equal(parseEndorsementCertificate(certificate).alternativeNames.size, 0);
});

test('a certificate without any extension is no CA', () => {
  const certificate = AsnConvert.parse(ca('root').certificate, Certificate);
  delete certificate.tbsCertificate.extensions;
  const parsed = parseEndorsementCertificate(new Uint8Array(AsnSerializer.serialize(certificate)));
  assert.deepEqual([parsed.isCa, parsed.keyUsage, parsed.extendedKeyUsage], [false, undefined, undefined]);
});
