import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AsnConvert, AsnSerializer } from '@peculiar/asn1-schema';
import { Certificate, KeyUsageFlags } from '@peculiar/asn1-x509';
import { issueCertificate, type PartyOptions, unknownExtension } from '../../test/simulator/soft-certificate.ts';
import { sha256Hex } from '../bytes/sha256.ts';
import { readMakerCertificate, tryMakerCertificate } from './maker-root.ts';

const SIGNS = { usage: KeyUsageFlags.keyCertSign };
const NOT_AFTER = new Date('2031-02-03T04:05:06Z');
const root = issueCertificate('Maker/root', undefined, { ...SIGNS, notAfter: NOT_AFTER });

test('a maker’s root is told by its subject, its own signature and its digest', () => {
  assert.deepEqual(readMakerCertificate(root.certificate), {
    der: root.certificate,
    sha256Hex: sha256Hex(root.certificate),
    subject: 'O=Maker, CN=root',
    isRoot: true,
    notAfter: NOT_AFTER,
    fault: '',
  });
});

test('an issuer below a root is none, and whether its signature is good is not asked', () => {
  const { certificate } = issueCertificate('issuer', root, SIGNS);
  const { isRoot, fault, subject } = readMakerCertificate(certificate);
  assert.deepEqual([isRoot, fault, subject], [false, '', 'CN=issuer']);
});

test('what cannot vouch for endorsement keys says why, with all reasons', () => {
  const faultOf = (options: PartyOptions, issuer = root) =>
    readMakerCertificate(issueCertificate('x', issuer, options).certificate).fault;
  assert.equal(faultOf({}), '', 'without key usage a CA may do everything');
  assert.equal(faultOf({ isCa: false, ...SIGNS }), 'it is no CA');
  assert.equal(faultOf({ usage: KeyUsageFlags.digitalSignature }), 'it may not sign certificates');
  assert.equal(faultOf({ ...SIGNS, extension: unknownExtension(true) }), 'critical extensions 1.2.3.4');
  assert.equal(
    faultOf(
      { isCa: false, usage: KeyUsageFlags.digitalSignature, extension: unknownExtension(true) },
      { ...root, name: 'x' },
    ),
    'it is no CA, it may not sign certificates, critical extensions 1.2.3.4, its own signature does not verify',
  );
});

test('a root whose signature is another’s, or whose key cannot be read, does not vouch for itself', () => {
  const forged = issueCertificate('root', { ...root, name: 'root' }, SIGNS).certificate;
  const unread = AsnConvert.parse(issueCertificate('root', undefined, SIGNS).certificate, Certificate);
  unread.tbsCertificate.subjectPublicKeyInfo.algorithm.algorithm = '1.2.3.4';
  for (const der of [forged, new Uint8Array(AsnSerializer.serialize(unread))]) {
    const { isRoot, fault } = readMakerCertificate(der);
    assert.deepEqual([isRoot, fault], [true, 'its own signature does not verify']);
  }
});

test('what is no certificate is passed over, and any other fault is not', () => {
  assert.equal(tryMakerCertificate(root.certificate)?.subject, 'O=Maker, CN=root');
  assert.equal(tryMakerCertificate(root.certificate.subarray(1)), undefined);
  assert.throws(() => readMakerCertificate(root.certificate.subarray(1)), { code: 'tpm.endorsement.certificate' });
  assert.throws(() => tryMakerCertificate(undefined as unknown as Uint8Array), TypeError);
});
