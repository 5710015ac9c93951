import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromHex } from '../bytes/hex.ts';
import { KEY_USAGE, OID, parseCertificateFields } from './certificate-fields.ts';
import {
  authority,
  extensionOf,
  makeCertificate,
  SIGNS_CERTIFICATES,
  TRUE,
  uris,
  usage,
} from './certificate-fixture.ts';
import { ascii, DerReader, der, derBitString, derInteger, derOid, derSequence, TAG } from './der.ts';

const read = (...extensions: Uint8Array[]) => parseCertificateFields(makeCertificate('x', { extensions }).certificate);
const FALSE = der(TAG.boolean, Uint8Array.of(0));
const numbered = (count: number) =>
  Array.from({ length: count }, (_, index) => extensionOf(`1.2.3.${index}`, false, Uint8Array.of(5, 0)));

test('every field says what the certificate says, and absent is not false', () => {
  assert.deepEqual(read(), {
    serialHex: '01',
    signatureAlgorithm: '1.2.840.10045.4.3.2',
    emptySubject: false,
    criticalNames: false,
    uris: [],
    isCa: undefined,
    pathLength: undefined,
    keyUsage: undefined,
    criticalKeyUsage: false,
    extendedKeyUsage: undefined,
    unknownCritical: [],
  });
  const purposes = derSequence(derOid(OID.serverAuth), derOid(OID.clientAuth));
  const names = derSequence(der(0x82, ascii('a.example')), der(0x86, ascii('spiffe://a/b')), der(0x86, ascii('urn:x')));
  const full = read(
    extensionOf(OID.subjectAltName, true, names),
    usage(0x84),
    authority(3),
    extensionOf(OID.extendedKeyUsage, false, purposes),
    extensionOf('1.2.3.4', true, Uint8Array.of(5, 0)),
    extensionOf('1.2.3.5', false, Uint8Array.of(5, 0)),
  );
  assert.deepEqual(full.uris, ['spiffe://a/b', 'urn:x'], 'URIs only, all of them, in order');
  assert.equal(full.criticalNames, true);
  assert.deepEqual([full.isCa, full.pathLength], [true, 3]);
  assert.deepEqual([full.keyUsage, full.criticalKeyUsage], [0x84, true]);
  assert.deepEqual(full.extendedKeyUsage, [OID.serverAuth, OID.clientAuth]);
  assert.deepEqual(full.unknownCritical, ['1.2.3.4'], 'those that are known or harmless are none');
});

test('an authority is one by its flag; a written FALSE is none', () => {
  const flag = (...parts: Uint8Array[]) => read(extensionOf(OID.basicConstraints, true, derSequence(...parts))).isCa;
  assert.equal(flag(), false);
  assert.equal(flag(FALSE), false);
  assert.equal(flag(TRUE), true);
  const plain = derSequence(derOid('1.2.3.4'), FALSE, der(TAG.octetString, Uint8Array.of(5, 0)));
  assert.deepEqual(read(plain).unknownCritical, [], 'nor is an extension with FALSE critical');
});

test('the ids that RFC 5280 lets stand after the key are read over, and nothing after the extensions', () => {
  const { certificate } = makeCertificate('x', { extensions: [authority(3)] });
  const outer = new DerReader(certificate, 'x').enter(TAG.sequence);
  const body = outer.enter(TAG.sequence);
  const parts = [0xa0, TAG.integer, ...Array(5).fill(TAG.sequence), 0xa3].map((tag) => body.readWhole(tag));
  const end = [outer.readWhole(TAG.sequence), outer.readWhole(TAG.bitString)];
  const [ids, extensions] = [[der(0x81, Uint8Array.of(0, 1)), der(0x82, Uint8Array.of(0, 2))], parts.slice(7)];
  const made =
    (...body: Uint8Array[]) =>
    () =>
      parseCertificateFields(derSequence(derSequence(...body), ...end));
  assert.equal(made(...parts)().pathLength, 3);
  assert.equal(made(...parts.slice(0, 7), ...ids, ...extensions)().pathLength, 3);
  const bad = { code: 'identity.der.malformed' };
  assert.throws(made(...parts, ids[0] ?? new Uint8Array()), bad);
  assert.throws(() => parseCertificateFields(derSequence(derSequence(...parts), ...end, derSequence())), bad);
  const doubled = der(0xa3, derSequence(), derSequence());
  assert.throws(made(...parts.slice(0, 7), doubled), bad);
});

test('path lengths are from 0 to 127', () => {
  for (const length of [0, 1, 127]) assert.equal(read(authority(length)).pathLength, length);
  const bounds = (hex: string) =>
    extensionOf(OID.basicConstraints, true, derSequence(TRUE, der(TAG.integer, fromHex(hex))));
  for (const hex of ['', '80', '0080', '0001'])
    assert.throws(() => read(bounds(hex)), { code: 'identity.certificate.malformed' }, hex);
});

test('an extension stands once, and there are at most 32', () => {
  assert.equal(read(...numbered(32)).unknownCritical.length, 0);
  assert.throws(() => read(...numbered(33)), { code: 'identity.certificate.malformed' });
  assert.throws(() => read(uris('spiffe://a/b'), uris('spiffe://a/c')), { code: 'identity.certificate.malformed' });
});

test('a key usage has a first byte, whose bits are those of RFC 5280', () => {
  assert.deepEqual({ ...KEY_USAGE }, { digitalSignature: 0x80, keyCertSign: 0x04, cRLSign: 0x02 });
  assert.equal(read(usage(0)).keyUsage, 0);
  const empty = extensionOf(OID.keyUsage, true, derBitString(new Uint8Array()));
  assert.throws(() => read(empty), { code: 'identity.certificate.malformed' });
});

test('what follows the value inside an extension is refused', () => {
  const oids = [OID.subjectAltName, OID.basicConstraints, OID.extendedKeyUsage];
  for (const value of [
    ...oids.map((oid) => [oid, derSequence()] as const),
    [OID.keyUsage, derBitString(Uint8Array.of(4))] as const,
  ]) {
    const [oid, plain] = value;
    read(extensionOf(oid, false, plain));
    const longer = new Uint8Array([...plain, 5, 0]);
    assert.throws(() => read(extensionOf(oid, false, longer)), { code: 'identity.der.malformed' }, oid);
  }
  const constraints = derSequence(TRUE, derInteger(Uint8Array.of(0)), derInteger(Uint8Array.of(0)));
  assert.throws(() => read(extensionOf(OID.basicConstraints, true, constraints)), { code: 'identity.der.malformed' });
  const twice = derSequence(derOid('1.2.3.4'), der(TAG.octetString), der(TAG.octetString));
  assert.throws(() => read(twice), { code: 'identity.der.malformed' });
});

test('bytes after any part of the certificate are refused, and so is one over 16 KiB', () => {
  const { certificate } = makeCertificate('x', { extensions: [SIGNS_CERTIFICATES] });
  assert.throws(() => parseCertificateFields(new Uint8Array([...certificate, 0])), { code: 'identity.der.malformed' });
  const filled = (size: number) => {
    const padding = extensionOf('1.2.3.4', false, new Uint8Array(size));
    return makeCertificate('x', { extensions: [padding] }).certificate;
  };
  /** A signature has 70 to 72 bytes, so that it may take some. */
  const exactly = (length: number): Uint8Array => {
    for (let size = 16_384 - 400; ; ) {
      const made = filled(size);
      if (made.length === length) return made;
      size += Math.sign(length - made.length) * Math.max(1, Math.abs(length - made.length) - 1);
    }
  };
  assert.equal(parseCertificateFields(exactly(16_384)).serialHex, '01');
  assert.throws(() => parseCertificateFields(exactly(16_385)), { code: 'identity.certificate.malformed' });
});

test('a certificate has version 3, and one algorithm in both places', () => {
  const { certificate } = makeCertificate('x');
  const changed = (find: string, put: string, from = 0) => {
    const hex = Buffer.from(certificate).toString('hex');
    const at = hex.indexOf(find, from);
    assert.ok(at > 0, find);
    return fromHex(hex.slice(0, at) + put + hex.slice(at + find.length));
  };
  for (const bad of [
    changed('a003020102', 'a003020101'),
    changed('a003020102', 'a103020102'),
    changed('06082a8648ce3d040302', '06082a8648ce3d040303'),
  ])
    assert.throws(() => parseCertificateFields(bad), { code: /^identity\.(certificate|der)\.malformed$/ });
});
