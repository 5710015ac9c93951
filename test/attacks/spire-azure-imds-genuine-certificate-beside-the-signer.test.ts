import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { test } from 'node:test';
import { KeyUsageFlags } from '@peculiar/asn1-x509';
import { certificateSpki } from '../../src/tpm/certificate.ts';
import { codeOf, ScriptedNode, TestServer } from '../simulator/scripted-node.ts';
import { issueCertificate } from '../simulator/soft-certificate.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// SPIRE before 1.15.2, azure_imds: a genuine certificate was put into the bag beside the one that really signed, and the checks looked
// at the genuine one. Here: a genuine EK certificate and its issuer travel as intermediates of one that somebody made.

const skip = skipWithoutSoftwareTpm();

test('the certificate that is checked is the one of the key that is used', { skip }, async () => {
  await using node = await ScriptedNode.boot();
  await using server = await TestServer.start(node.tpm.rootPath);
  await server.approve();
  await server.admin.addNode({ ekSha256: node.ekSha256Hex, name: 'node-1' });
  const spki = Buffer.from(certificateSpki(node.ekCertificate));
  const publicKey = createPublicKey({ key: spki, format: 'der', type: 'spki' });
  const issuer = issueCertificate('issuer', undefined, { usage: KeyUsageFlags.keyCertSign });
  const made = issueCertificate('EK', issuer, {
    isCa: false,
    publicKey,
    usage: KeyUsageFlags.keyEncipherment | KeyUsageFlags.keyAgreement,
    extendedUsage: ['2.23.133.8.1'],
  });
  const genuine = [node.ekCertificate, ...(await node.tpm.intermediates())];
  for (const ekIntermediates of [
    [...genuine, issuer.certificate],
    [issuer.certificate, ...genuine],
  ]) {
    await assert.rejects(
      node.enrol(server, { hello: { ekCertificate: made.certificate, ekIntermediates } }),
      (error) => codeOf(error) === 'tpm.endorsement.chain',
    );
  }
  assert.equal((await node.enrol(server)).result.host?.trusted, true, 'the honest case');
});
