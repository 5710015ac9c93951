import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { AsnConvert, AsnSerializer, OctetString } from '@peculiar/asn1-schema';
import {
  AuthorityKeyIdentifier,
  Certificate,
  Extension,
  id_ce_authorityKeyIdentifier,
  id_ce_subjectKeyIdentifier,
  KeyIdentifier,
  KeyUsageFlags,
} from '@peculiar/asn1-x509';
import { issueCertificate, type Party, type PartyOptions } from '../../test/simulator/soft-certificate.ts';
import { isLacreError, type LacreError } from '../lacre-error.ts';
import { parseEndorsementCertificate } from './certificate.ts';
import { type ExpiryPolicy, findChain } from './certificate-chain.ts';

const ca = (name: string, issuer?: Party, options: PartyOptions = {}) =>
  issueCertificate(name, issuer, { usage: KeyUsageFlags.keyCertSign, ...options });
const leafOf = (issuer: Party, options: PartyOptions = {}) =>
  parseEndorsementCertificate(issueCertificate('leaf', issuer, { isCa: false, ...options }).certificate);
const rootOf = ({ certificate }: Party) => ({
  certificate: new X509Certificate(certificate),
  tier: 'hardware' as const,
});

interface Question {
  readonly leaf: ReturnType<typeof leafOf>;
  readonly below?: readonly Party[];
  readonly roots: readonly Party[];
  readonly now?: Date;
  readonly expiry?: ExpiryPolicy;
}

function errorOf(question: Question): LacreError {
  try {
    chainOf(question);
  } catch (error) {
    if (isLacreError(error)) return error;
    throw error;
  }
  return assert.fail('it verified');
}

/** Common names of the chain, the leaf's first. */
function chainOf({ leaf, below = [], roots, now = new Date('2026-12-01T00:00:00Z'), expiry }: Question): string {
  const intermediates = below.map(({ certificate }) => certificate);
  const { path, root } = findChain(leaf, intermediates, roots.map(rootOf), now, expiry);
  const subjects = [...path.map(({ x509 }) => x509.subject), root.certificate.subject];
  return subjects.map((subject) => subject.replace('CN=', '')).join(' ');
}

const CHAIN = 'tpm.endorsement.chain';

test('eight intermediates are looked at, not nine, be they good ones', () => {
  const root = ca('root');
  const a = ca('a', root);
  const others = Array.from({ length: 7 }, (_, index) => ca(`other ${index}`, root));
  const question = { leaf: leafOf(a), below: [...others, a], roots: [root] };
  assert.equal(chainOf(question), 'leaf a root');
  const nine = { ...question, below: [...others, a, ca('ninth', root)] };
  assert.equal(errorOf(nine).code, 'tpm.endorsement.certificate');
});

test('32 signatures are verified, and no more, however many issuers have the same name', () => {
  const root = ca('root');
  const decoys = Array.from({ length: 32 }, () => ca('root'));
  const leaf = leafOf(root);
  assert.equal(chainOf({ leaf, roots: [...decoys.slice(1), root] }), 'leaf root');
  assert.equal(errorOf({ leaf, roots: [...decoys, root] }).code, CHAIN);
});

test('five issuers may stand between leaf and root, not six', () => {
  const root = ca('root');
  const issuers: Party[] = [];
  for (let depth = 0; depth < 6; depth++) issuers.unshift(ca(`i${depth}`, issuers[0] ?? root));
  const five = issuers.slice(1);
  assert.equal(chainOf({ leaf: leafOf(five[0] ?? root), below: five, roots: [root] }), 'leaf i4 i3 i2 i1 i0 root');
  assert.equal(errorOf({ leaf: leafOf(issuers[0] ?? root), below: issuers, roots: [root] }).code, CHAIN);
});

test('a path length counts the issuers below it', () => {
  const root = ca('root');
  const a = (pathLength: number) => ca('a', root, { pathLength });
  const direct = a(0);
  assert.equal(chainOf({ leaf: leafOf(direct), below: [direct], roots: [root] }), 'leaf a root');
  for (const [pathLength, verdict] of [
    [0, CHAIN],
    [1, 'leaf b a root'],
  ] as const) {
    const issuer = a(pathLength);
    const b = ca('b', issuer);
    const question = { leaf: leafOf(b), below: [b, issuer], roots: [root] };
    assert.equal(pathLength === 0 ? errorOf(question).code : chainOf(question), verdict);
  }
});

test('where one issuer leads nowhere, the next of its name is tried; none stands in a chain twice', () => {
  const root = ca('root');
  const a = ca('a');
  const certified = (by: Party) => ca('a', by, { publicKey: a.publicKey });
  const leaf = leafOf(a);
  assert.equal(chainOf({ leaf, below: [certified(ca('nobody')), certified(root)], roots: [root] }), 'leaf a root');
  assert.equal(chainOf({ leaf, below: [a, certified(root)], roots: [root] }), 'leaf a a root');
});

test('an issuer has the name that the certificate states, letter for letter, whatever its key has signed', () => {
  const root = ca('root');
  const a = ca('a', root);
  const question = (name: string) => ({ leaf: leafOf({ ...a, name }), below: [a], roots: [root] });
  assert.equal(chainOf(question('a')), 'leaf a root');
  for (const name of ['b', 'A', 'a ']) assert.equal(errorOf(question(name)).code, CHAIN, name);
});

test('a certificate that states another key of its issuer than this one is not by it', () => {
  const extension = (extnID: string, value: object) =>
    new Extension({ extnID, critical: false, extnValue: new OctetString(AsnConvert.serialize(value)) });
  const key = (byte: number) => new KeyIdentifier(Uint8Array.of(byte, 2, 3, 4));
  const issuer = ca('a', undefined, { extension: extension(id_ce_subjectKeyIdentifier, key(1)) });
  const leaf = (byte: number) => {
    const keyIdentifier = new AuthorityKeyIdentifier({ keyIdentifier: key(byte) });
    return leafOf(issuer, { extension: extension(id_ce_authorityKeyIdentifier, keyIdentifier) });
  };
  assert.equal(chainOf({ leaf: leaf(1), roots: [issuer] }), 'leaf a');
  assert.equal(errorOf({ leaf: leaf(9), roots: [issuer] }).code, CHAIN);
});

test('a configured root that cannot be read stands in the way of no other', () => {
  const root = ca('root');
  const other = ca('other');
  const twice = AsnConvert.parse(other.certificate, Certificate);
  const { extensions } = twice.tbsCertificate;
  extensions?.push(...extensions);
  const strange = { ...other, certificate: new Uint8Array(AsnSerializer.serialize(twice)) };
  assert.equal(chainOf({ leaf: leafOf(root), roots: [strange, root] }), 'leaf root');
  assert.equal(errorOf({ leaf: leafOf(other), roots: [strange, root] }).code, 'tpm.endorsement.certificate');
});

test('an issuer with an extended key usage needs that of EK certificates, or any', () => {
  const chained = (...extendedUsage: string[]) => {
    const root = ca('root', undefined, { extendedUsage });
    return { leaf: leafOf(root), roots: [root] };
  };
  assert.equal(chainOf(chained('1.3.6.1.5.5.7.3.1', '2.23.133.8.1')), 'leaf root');
  assert.equal(chainOf(chained('2.5.29.37.0')), 'leaf root');
  assert.equal(errorOf(chained('1.3.6.1.5.5.7.3.1')).code, CHAIN);
});

test('a certificate is good from its first moment to its last; expired ones where that is accepted', () => {
  const root = ca('root');
  const first = new Date('2026-01-01T00:00:00Z');
  const last = new Date('2027-03-04T05:06:07Z');
  const leaf = leafOf(root, { notAfter: last });
  const moved = (time: Date, ms: number) => new Date(time.getTime() + ms);
  const question = { leaf, roots: [root] };
  for (const now of [first, last]) assert.equal(chainOf({ ...question, now }), 'leaf root');
  for (const now of [moved(first, -1), moved(last, 1)])
    assert.equal(errorOf({ ...question, now }).code, 'tpm.endorsement.expired');
  assert.equal(chainOf({ ...question, now: moved(last, 1), expiry: 'accept' }), 'leaf root');
  assert.equal(errorOf({ ...question, now: moved(first, -1), expiry: 'accept' }).code, 'tpm.endorsement.expired');
  assert.equal(errorOf({ ...question, now: moved(last, 1), expiry: 'refuse' }).code, 'tpm.endorsement.expired');
});

test('a name of several parts stands in an error on one line', () => {
  const root = ca('Maker/root', undefined, { notAfter: new Date('2026-02-01T00:00:00Z') });
  const leaf = leafOf(root);
  assert.equal(errorOf({ leaf, roots: [] }).details['issuer'], 'O=Maker, CN=root');
  const expired = errorOf({ leaf, roots: [root] });
  assert.deepEqual([expired.code, expired.details['subject']], ['tpm.endorsement.expired', 'O=Maker, CN=root']);
});
