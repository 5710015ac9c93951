import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { KeyUsageFlags } from '@peculiar/asn1-x509';
import { pem } from '../../src/bytes/pem.ts';
import { certificateSpki } from '../../src/tpm/certificate.ts';
import { codeOf, ScriptedNode, TestServer } from '../simulator/scripted-node.ts';
import { issueCertificate, type PartyOptions } from '../simulator/soft-certificate.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// The certificate of the EK, or that of its issuer, is no longer valid: what its maker stands for has an end.

const skip = skipWithoutSoftwareTpm();
const PAST = new Date('2026-02-01T00:00:00Z');
const CA: PartyOptions = { usage: KeyUsageFlags.keyCertSign };

test('a chain counts at the time at which it is shown', { skip }, async (context) => {
  await using node = await ScriptedNode.boot();
  const root = issueCertificate('TPM maker', undefined, CA);
  const folder = await mkdtemp(join(tmpdir(), 'lacre-root-'));
  context.after(() => rm(folder, { recursive: true, force: true }));
  await writeFile(join(folder, 'root.pem'), pem('CERTIFICATE', root.certificate));
  await using server = await TestServer.start(join(folder, 'root.pem'));
  await server.approve();
  await server.admin.addNode({ ekSha256: node.ekSha256Hex, name: 'node-1' });

  const spki = Buffer.from(certificateSpki(node.ekCertificate));
  const publicKey = createPublicKey({ key: spki, format: 'der', type: 'spki' });
  const usage = KeyUsageFlags.keyEncipherment | KeyUsageFlags.keyAgreement;
  const ek: PartyOptions = { isCa: false, publicKey, usage, extendedUsage: ['2.23.133.8.1'] };
  const enrolBy = (issuer: PartyOptions, own: PartyOptions) => {
    const between = issueCertificate('issuer', root, { ...CA, ...issuer });
    const { certificate } = issueCertificate('EK', between, { ...ek, ...own });
    return node.enrol(server, { hello: { ekCertificate: certificate, ekIntermediates: [between.certificate] } });
  };
  for (const [issuer, own] of [
    [{}, { notAfter: PAST }],
    [{ notAfter: PAST }, {}],
  ] as const) {
    await assert.rejects(enrolBy(issuer, own), (error) => codeOf(error) === 'tpm.endorsement.expired');
  }
  assert.equal((await enrolBy({}, {})).result.host?.trusted, true, 'the honest case');
});
