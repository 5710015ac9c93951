import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { test } from 'node:test';
import { KeyUsageFlags } from '@peculiar/asn1-x509';
import { certificateSpki } from '../../src/tpm/certificate.ts';
import { codeOf, ScriptedNode, TestServer } from '../simulator/scripted-node.ts';
import { issueCertificate } from '../simulator/soft-certificate.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// A machine shows an EK certificate that it made itself: over the very key that its TPM has, or over one in software that it put into
// the inventory by its digest.

const skip = skipWithoutSoftwareTpm();

test('a certificate counts for what chains to a configured root', { skip }, async () => {
  await using node = await ScriptedNode.boot();
  await using server = await TestServer.start(node.tpm.rootPath);
  await server.approve();
  await server.admin.addNode({ ekSha256: node.ekSha256Hex, name: 'node-1' });
  const publicKey = createPublicKey({
    key: Buffer.from(certificateSpki(node.ekCertificate)),
    format: 'der',
    type: 'spki',
  });
  const usage = KeyUsageFlags.keyEncipherment | KeyUsageFlags.keyAgreement;
  const made = issueCertificate('TPM maker', undefined, {
    isCa: false,
    publicKey,
    usage,
    extendedUsage: ['2.23.133.8.1'],
  });
  await assert.rejects(
    node.enrol(server, { hello: { ekCertificate: made.certificate } }),
    (error) => codeOf(error) === 'tpm.endorsement.chain',
  );
  assert.equal((await node.enrol(server)).result.host?.trusted, true, 'the honest case');
});
