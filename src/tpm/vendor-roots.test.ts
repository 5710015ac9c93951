import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { certificateSpki, parseEndorsementCertificate } from './certificate.ts';

const folder = new URL('../../../shared/data/tpm-roots/', import.meta.url);
const skip = existsSync(folder) ? false : 'the third-party collection of TPM makers’ CAs is not on this machine';

test('every CA of the TPM makers in the collection can be a configured root', { skip }, () => {
  const files = readdirSync(folder).filter((file) => file.endsWith('.pem'));
  assert.equal(files.length, 51);
  for (const file of files) {
    const { raw } = new X509Certificate(readFileSync(new URL(file, folder)));
    const der = new Uint8Array(raw);
    const root = parseEndorsementCertificate(der);
    assert.equal(root.isCa, true, file);
    assert.ok(root.keyUsage?.includes('keyCertSign') ?? true, file);
    assert.deepEqual(root.unknownCritical, [], file);
    assert.ok(certificateSpki(der).length > 64, file);
  }
});

test('where issuer and root of a maker are both in the collection, the signature between them verifies', {
  skip,
}, () => {
  const all = readdirSync(folder)
    .filter((file) => file.endsWith('.pem'))
    .map((file) => new X509Certificate(readFileSync(new URL(file, folder))));
  const links = all.flatMap((child) =>
    all.filter((issuer) => issuer !== child && child.issuer === issuer.subject && child.checkIssued(issuer)),
  );
  const verified = all.filter((child) =>
    all.some((issuer) => issuer !== child && child.checkIssued(issuer) && child.verify(issuer.publicKey)),
  );
  assert.ok(links.length > 10);
  assert.ok(verified.length > 10);
});
