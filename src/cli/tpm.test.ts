import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { KeyUsageFlags } from '@peculiar/asn1-x509';
import { writeCabinet } from '../../test/simulator/cabinet-file.ts';
import { issueCertificate, unknownExtension } from '../../test/simulator/soft-certificate.ts';
import { pem } from '../bytes/pem.ts';
import { readEndorsementRoots } from '../server/enrolment-roots.ts';

const main = fileURLToPath(new URL('../main.ts', import.meta.url));
let folder = '';
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lacre-tpm-roots-'));
});
after(() => rm(folder, { recursive: true, force: true }));

function importRoots(source: string, out: string): Promise<{ status: number; stdout: string; stderr: string }> {
  const args = [main, 'tpm', 'roots', 'import', source, '--out', out];
  return new Promise((resolve) => {
    execFile(process.execPath, args, { timeout: 30_000 }, (error, stdout, stderr) => {
      resolve({ status: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

const usage = KeyUsageFlags.keyCertSign;
const root = issueCertificate('Maker root', undefined, { usage });
const issuer = issueCertificate('Maker issuer', root, { usage });
const leaf = issueCertificate('EK', issuer, { isCa: false });
const strange = issueCertificate('Strange', root, { usage, extension: unknownExtension(true) });
const signer = issueCertificate('Signer', root, { usage: KeyUsageFlags.digitalSignature });
const FILES = [
  { name: 'Maker\\RootCA\\root.crt', content: root.certificate },
  { name: 'Maker\\IntermediateCA\\issuer.cer', content: issuer.certificate },
  { name: 'Maker\\IntermediateCA\\again.cer', content: issuer.certificate },
  { name: 'Maker\\leaf.cer', content: leaf.certificate },
  { name: 'Maker\\strange.der', content: strange.certificate },
  { name: 'Maker\\signer.der', content: signer.certificate },
  { name: 'Maker\\broken.der', content: Uint8Array.of(0x30, 1) },
  { name: 'version.txt', content: Buffer.from('1') },
];

test('CAs of a cabinet are taken, once each; leaves and what is not understood are left out with the reason', async () => {
  const cabinet = join(folder, 'makers.cab');
  await writeFile(cabinet, writeCabinet(FILES));
  const out = join(folder, 'from-cabinet');
  const { status, stdout, stderr } = await importRoots(cabinet, out);
  assert.equal(status, 0, stderr);
  assert.match(stdout, /2 of 5 certificates/);
  for (const reason of [/EK +it is no CA/, /critical extensions 1\.2\.3\.4/, /may not sign certificates/])
    assert.match(stdout, reason);
  const roots = readEndorsementRoots([{ path: out, tier: 'hardware' }]);
  assert.deepEqual(roots.map(({ certificate }) => certificate.subject).sort(), ['CN=Maker issuer', 'CN=Maker root']);
});

test('a folder of PEM and DER files is taken too, with folders in it', async () => {
  const source = join(folder, 'source');
  await mkdir(join(source, 'deep', 'er'), { recursive: true });
  await writeFile(
    join(source, 'both.pem'),
    pem('CERTIFICATE', root.certificate) + pem('CERTIFICATE', leaf.certificate),
  );
  await writeFile(join(source, 'deep', 'er', 'issuer.cer'), issuer.certificate);
  const out = join(folder, 'from-folder');
  assert.equal((await importRoots(source, out)).status, 0);
  assert.equal((await readdir(out)).length, 2);
});

test('a forged self-signed certificate, no CA at all, or no source is refused', async () => {
  const other = issueCertificate('Maker root', undefined, { usage });
  const forged = Buffer.from(root.certificate);
  forged[forged.length - 4] = (forged[forged.length - 4] ?? 0) ^ 1;
  const source = join(folder, 'forged');
  await mkdir(source);
  await writeFile(join(source, 'forged.der'), forged);
  const refused = await importRoots(source, join(folder, 'none'));
  assert.equal(refused.status, 2);
  assert.match(refused.stderr, /holds no CA certificate/);
  await writeFile(join(source, 'other.der'), other.certificate);
  assert.match((await importRoots(source, join(folder, 'one'))).stdout, /its own signature does not verify/);
  assert.equal((await importRoots(join(folder, 'absent'), folder)).status, 4);
  await writeFile(join(folder, 'no.cab'), 'MSCF');
  assert.match((await importRoots(join(folder, 'no.cab'), folder)).stderr, /tpm\.cabinet\.malformed/);
});

const skip = spawnSync('gcab', ['--version']).error === undefined ? false : 'gcab is not installed';
test('a cabinet that another program wrote is read', { skip }, async () => {
  await writeFile(join(folder, 'root.crt'), root.certificate);
  await writeFile(join(folder, 'issuer.crt'), issuer.certificate);
  const cabinet = join(folder, 'gcab.cab');
  const args = ['-c', '-z', '-n', cabinet, join(folder, 'root.crt'), join(folder, 'issuer.crt')];
  assert.equal(spawnSync('gcab', args, { cwd: folder }).status, 0);
  assert.equal((await readFile(cabinet)).subarray(0, 4).toString(), 'MSCF');
  const out = join(folder, 'from-gcab');
  assert.equal((await importRoots(cabinet, out)).status, 0);
  assert.equal((await readdir(out)).length, 2);
});
