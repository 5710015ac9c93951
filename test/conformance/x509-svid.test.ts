/**
 * What the authority issues, against "The X.509 SPIFFE Verifiable Identity Document", clause by clause. The
 * certificates are read by another parser than the one that wrote them (@peculiar/asn1-x509), and by OpenSSL.
 */
import assert from 'node:assert/strict';
import { generateKeyPairSync, randomBytes, X509Certificate } from 'node:crypto';
import { describe, test } from 'node:test';
import { AsnConvert } from '@peculiar/asn1-schema';
import {
  AuthorityKeyIdentifier,
  BasicConstraints,
  Certificate,
  ExtendedKeyUsage,
  KeyUsage,
  KeyUsageFlags,
  SubjectAlternativeName,
  SubjectKeyIdentifier,
} from '@peculiar/asn1-x509';
import { concludeVerdict } from '../../src/appraisal/verdict.ts';
import { SpiffeId } from '../../src/identity/spiffe-id.ts';
import { TrustDomain } from '../../src/identity/trust-domain.ts';
import { verifyX509Svid } from '../../src/identity/x509-svid.ts';
import { SigningAuthority } from '../../src/issuance/signing-authority.ts';
import { issueServerSvid, issueX509Svid } from '../../src/issuance/x509-svid.ts';

const NOW = new Date('2026-05-01T12:00:00.000Z');
const OIDS = {
  ku: '2.5.29.15',
  san: '2.5.29.17',
  bc: '2.5.29.19',
  aki: '2.5.29.35',
  eku: '2.5.29.37',
  ski: '2.5.29.14',
};
const authority = SigningAuthority.create({
  trustDomain: TrustDomain.parse('lab.example'),
  key: generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey,
  serial: randomBytes(16),
  now: NOW,
  ttlMs: 86_400_000,
  subject: { organization: 'Lacre', commonName: 'test' },
});

function spki(): Uint8Array {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }));
}

async function leaf(dnsNames: string[] = []) {
  const svid = await issueX509Svid({
    verdict: concludeVerdict('container', [], [], NOW),
    spiffeId: SpiffeId.parse('spiffe://lab.example/shop/orders'),
    publicKey: spki(),
    authority,
    now: NOW,
    ttlSeconds: 300,
    serial: randomBytes(16),
    dnsNames,
  });
  return { svid, read: read(svid.certificate) };
}

function read(der: Uint8Array) {
  const { tbsCertificate } = AsnConvert.parse(der, Certificate);
  const find = (oid: string) => tbsCertificate.extensions?.filter((one) => one.extnID === oid) ?? [];
  const value = <T>(oid: string, type: new () => T): T | undefined => {
    const [extension] = find(oid);
    return extension === undefined ? undefined : AsnConvert.parse(extension.extnValue.buffer, type);
  };
  return { tbs: tbsCertificate, find, value, der };
}

describe('X509-SVID', () => {
  test('2: exactly one URI SAN, which is the SPIFFE ID; other names may stand beside it', async () => {
    const { read } = await leaf(['orders.lab.example', '*.lab.example']);
    const names = [...(read.value(OIDS.san, SubjectAlternativeName) ?? [])];
    const uris = names.flatMap((name) => name.uniformResourceIdentifier ?? []);
    assert.deepEqual(uris, ['spiffe://lab.example/shop/orders']);
    assert.deepEqual(
      names.flatMap((name) => name.dNSName ?? []),
      ['orders.lab.example', '*.lab.example'],
    );
    assert.equal(read.find(OIDS.san).length, 1);
  });

  test('3.1: a leaf has a path; its URI SAN is critical since its subject is empty', async () => {
    const { read } = await leaf();
    assert.equal(read.tbs.subject.length, 0);
    assert.equal(read.find(OIDS.san)[0]?.critical, true);
    const noPath = {
      verdict: concludeVerdict('container', [], [], NOW),
      spiffeId: SpiffeId.parse('spiffe://lab.example'),
    };
    const rest = { publicKey: spki(), authority, now: NOW, ttlSeconds: 300, serial: randomBytes(16) };
    await assert.rejects(issueX509Svid({ ...noPath, ...rest }), { code: 'issuance.refused' });
  });

  test('3.2: a signing certificate is an SVID without a path, in the trust domain of its leaves', () => {
    const names = [...(read(authority.certificate).value(OIDS.san, SubjectAlternativeName) ?? [])];
    assert.deepEqual(
      names.flatMap((name) => name.uniformResourceIdentifier ?? []),
      ['spiffe://lab.example'],
    );
  });

  test('4.1: cA is true in signing certificates and false in leaves', async () => {
    const { read: leafRead } = await leaf();
    assert.equal(leafRead.value(OIDS.bc, BasicConstraints)?.cA, false);
    const root = read(authority.certificate);
    assert.equal(root.value(OIDS.bc, BasicConstraints)?.cA, true);
    assert.equal(root.find(OIDS.bc)[0]?.critical, true);
    assert.equal(root.value(OIDS.bc, BasicConstraints)?.pathLenConstraint, 0);
  });

  test('4.3: key usage is there and critical; signing certificates sign, leaves make digital signatures only', async () => {
    const { read: leafRead } = await leaf();
    assert.equal(leafRead.find(OIDS.ku)[0]?.critical, true);
    assert.equal(leafRead.value(OIDS.ku, KeyUsage)?.toNumber(), KeyUsageFlags.digitalSignature);
    const root = read(authority.certificate);
    assert.equal(root.find(OIDS.ku)[0]?.critical, true);
    assert.equal(root.value(OIDS.ku, KeyUsage)?.toNumber(), KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign);
  });

  test('4.4: leaves name both serverAuth and clientAuth', async () => {
    const { read } = await leaf();
    const purposes = [...(read.value(OIDS.eku, ExtendedKeyUsage) ?? [])].sort();
    assert.deepEqual(purposes, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
  });

  test('5: the leaf passes path and leaf validation against the bundle', async () => {
    const { svid } = await leaf();
    const verified = verifyX509Svid({ chain: [svid.certificate], bundle: [authority.certificate], now: NOW });
    assert.equal(verified.spiffeId.uri, 'spiffe://lab.example/shop/orders');
    assert.equal(verified.serialHex, svid.serialHex);
    const [leafCertificate, root] = [new X509Certificate(svid.certificate), new X509Certificate(authority.certificate)];
    assert.ok(
      leafCertificate.verify(root.publicKey) && leafCertificate.checkIssued(root) && !leafCertificate.ca && root.ca,
    );
  });
});

describe('RFC 5280', () => {
  test('4.1.2.2: serials are positive, at most 20 octets, and what was passed in', async () => {
    for (const first of [0x00, 0x01, 0x7f, 0x80, 0xff]) {
      const serial = new Uint8Array(randomBytes(16));
      serial[0] = first;
      const { certificate, serialHex } = issueServerSvid({
        authority,
        now: NOW,
        ttlSeconds: 60,
        serial,
        publicKey: spki(),
      });
      const written = new Uint8Array(read(certificate).tbs.serialNumber);
      assert.ok(written.length <= 20 && (written[0] ?? 0x80) < 0x80);
      assert.equal(
        BigInt(`0x${Buffer.from(written).toString('hex')}`),
        BigInt(`0x${Buffer.from(serial).toString('hex')}`),
      );
      assert.equal(BigInt(`0x${serialHex}`), BigInt(`0x${Buffer.from(serial).toString('hex')}`));
      assert.equal(
        new X509Certificate(certificate).serialNumber.toLowerCase(),
        serialHex.padStart(serialHex.length + (serialHex.length % 2), '0'),
      );
    }
  });

  test('4.2.1.1, 4.2.1.2: the leaf names the key of its issuer, and both have a key identifier', async () => {
    const { read: leafRead } = await leaf();
    const root = read(authority.certificate);
    const rootId = root.value(OIDS.ski, SubjectKeyIdentifier);
    const named = leafRead.value(OIDS.aki, AuthorityKeyIdentifier)?.keyIdentifier;
    assert.ok(rootId !== undefined && named !== undefined);
    assert.equal(Buffer.from(named.buffer).toString('hex'), Buffer.from(rootId.buffer).toString('hex'));
    assert.equal(Buffer.from(rootId.buffer).toString('hex'), authority.keyIdHex);
    assert.equal(leafRead.find(OIDS.ski).length, 1);
  });

  test('4.1.2.4: the issuer of a leaf is, byte for byte, the subject of its authority', async () => {
    const { read: leafRead } = await leaf();
    const root = read(authority.certificate);
    const bytes = (name: unknown) => Buffer.from(AsnConvert.serialize(name)).toString('hex');
    assert.equal(bytes(leafRead.tbs.issuer), bytes(root.tbs.subject));
    assert.notEqual(root.tbs.subject.length, 0);
  });
});
