import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { issueCertificate } from '../../test/simulator/soft-certificate.ts';
import { EK_ATTRIBUTES, forgePublicArea } from '../../test/simulator/soft-key.ts';
import { pem } from '../bytes/pem.ts';
import { sha256Hex } from '../bytes/sha256.ts';
import { parsePublicArea } from '../tpm/public-area.ts';
import { endorsementCertificate } from './tpm-certificate.ts';

const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const ek = forgePublicArea(publicKey, { attributes: EK_ATTRIBUTES, cipherBits: 128 });
const name = sha256Hex(parsePublicArea(ek).spki);
const own = issueCertificate('EK', undefined, { publicKey }).certificate;
const other = issueCertificate('EK', undefined).certificate;
const answers = new Map<string, Uint8Array>();
let folder = '';
let server: Server;
let url = '';

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lacre-ek-'));
  server = createServer((request, response) => {
    if (request.url === `/moved/${name}.der`) response.writeHead(302, { location: `/good/${name}.der` }).end();
    const found = answers.get(request.url ?? '');
    if (!response.writableEnded) response.writeHead(found === undefined ? 404 : 200).end(found);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  answers.set(`/good/${name}.der`, own);
  answers.set(`/wrong/${name}.der`, other);
  answers.set(`/text/${name}.der`, Buffer.from('no certificate'));
  answers.set(`/large/${name}.der`, new Uint8Array(100_000));
});
after(async () => {
  server.close();
  await rm(folder, { recursive: true, force: true });
});

test('without configuration it is what the TPM holds, or none', async () => {
  assert.equal(await endorsementCertificate({}, ek, undefined), undefined);
  assert.equal(await endorsementCertificate({}, ek, own), own);
  assert.equal(await endorsementCertificate({ url: `${url}/absent` }, ek, own), own, 'the URL is not asked');
});

test('a file comes before what the TPM holds, PEM or DER', async () => {
  for (const content of [own, pem('CERTIFICATE', own)]) {
    await writeFile(join(folder, 'ek'), content);
    assert.deepEqual(await endorsementCertificate({ file: join(folder, 'ek') }, ek, other), own);
  }
});

test('a folder on a web server is asked by the hash of the key', async () => {
  assert.deepEqual(await endorsementCertificate({ url: `${url}/good` }, ek, undefined), own);
  assert.deepEqual(await endorsementCertificate({ url: `${url}/good/` }, ek, undefined), own);
});

test('a certificate of another key, no certificate, too much, a redirect or nothing at all is refused', async () => {
  await writeFile(join(folder, 'other'), other);
  await writeFile(join(folder, 'large'), new Uint8Array(20_000));
  for (const source of [
    { file: join(folder, 'other') },
    { file: join(folder, 'large') },
    { file: join(folder, 'absent') },
    ...['wrong', 'text', 'large', 'absent', 'moved'].map((part) => ({ url: `${url}/${part}` })),
    { url: 'http://127.0.0.1:1' },
  ]) {
    await assert.rejects(endorsementCertificate(source, ek, undefined), { code: 'agent.tpm.certificate' });
  }
});
