import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import { AsnConvert, AsnSerializer, OctetString } from '@peculiar/asn1-schema';
import { Certificate, Extension, KeyUsageFlags } from '@peculiar/asn1-x509';
import { issueCertificate, unknownExtension } from '../../test/simulator/soft-certificate.ts';
import { certificateSpki, parseEndorsementCertificate } from './certificate.ts';

/** A certificate of exactly `size` bytes; nobody asks for its signature here. */
function certificateOf(size: number): Uint8Array {
  const certificate = AsnConvert.parse(issueCertificate('x', undefined).certificate, Certificate);
  const make = (padding: number) => {
    const extnValue = new OctetString(new Uint8Array(padding));
    certificate.tbsCertificate.extensions?.splice(
      1,
      1,
      new Extension({ extnID: '1.2.3.4', critical: false, extnValue }),
    );
    return new Uint8Array(AsnSerializer.serialize(certificate));
  };
  return make(2 * size - size - (make(size).length - size));
}

test('a certificate of 16,384 bytes is read, one more is not', () => {
  const [fits, large] = [certificateOf(16_384), certificateOf(16_385)];
  assert.deepEqual([fits.length, large.length], [16_384, 16_385]);
  assert.equal(parseEndorsementCertificate(fits).isCa, true);
  assert.throws(() => parseEndorsementCertificate(large), { code: 'tpm.endorsement.certificate' });
});

test('what a certificate says is read; the critical extensions that nobody understands are named', () => {
  const { certificate } = issueCertificate('x', undefined, {
    pathLength: 3,
    usage: KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign,
    extendedUsage: ['2.23.133.8.1', '2.5.29.37.0'],
    extension: unknownExtension(true),
  });
  const { x509, keyUsage, alternativeNames, ...rest } = parseEndorsementCertificate(certificate);
  assert.equal(x509.subject, 'CN=x');
  assert.deepEqual(new Set(keyUsage), new Set(['keyCertSign', 'crlSign']));
  assert.deepEqual([...alternativeNames], []);
  assert.deepEqual(rest, {
    isCa: true,
    pathLength: 3,
    extendedKeyUsage: ['2.23.133.8.1', '2.5.29.37.0'],
    unknownCritical: ['1.2.3.4'],
  });
});

test('a key that is stated to be for OAEP alone, with the parameters of it, is the same RSA key', () => {
  const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const certificate = AsnConvert.parse(issueCertificate('x', undefined, { publicKey }).certificate, Certificate);
  const { algorithm } = certificate.tbsCertificate.subjectPublicKeyInfo;
  algorithm.algorithm = '1.2.840.113549.1.1.7';
  // RSAES-OAEP-params (RFC 4055, 4.1): hash SHA-256, the rest as by default.
  algorithm.parameters = Uint8Array.from(Buffer.from('300fa00d300b0609608648016503040201', 'hex')).buffer;
  const spki = certificateSpki(new Uint8Array(AsnSerializer.serialize(certificate)));
  assert.deepEqual(Buffer.from(spki), publicKey.export({ type: 'spki', format: 'der' }));
});
