import { mkdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { runProgram, type StartedService, startService } from '../program.ts';

/** A software TPM's folder, made by `makeTpm`. */
export interface SoftwareTpm {
  readonly folder: string;
  /** DER. */
  readonly ekCertificatePath: string;
  /** PEM, of the lab's own CA: its root first made here, and its intermediate. */
  readonly rootPaths: readonly string[];
  readonly controlSocket: string;
}

/**
 * Makes a TPM 2.0 whose EK certificate comes from a CA of the lab's own, as a manufacturer's would: keys, certificates
 * and settings all lie below `folder` (an absolute path), nothing of the machine's own TPM CA is used.
 */
export async function makeTpm(folder: string, signal: AbortSignal): Promise<SoftwareTpm> {
  const ca = join(folder, 'ca');
  await mkdir(ca, { recursive: true, mode: 0o700 });
  const file = async (name: string, lines: readonly string[]) => {
    const path = join(folder, name);
    await writeFile(path, `${lines.join('\n')}\n`);
    return path;
  };
  const localca = await file('localca.conf', [
    `statedir = ${ca}`,
    `signingkey = ${join(ca, 'signkey.pem')}`,
    `issuercert = ${join(ca, 'issuercert.pem')}`,
    `certserial = ${join(ca, 'certserial')}`,
  ]);
  const options = await file('localca.options', [
    '--platform-manufacturer Lacre',
    '--platform-version 1',
    '--platform-model lab',
  ]);
  const setup = await file('setup.conf', [
    'create_certs_tool = swtpm_localca',
    `create_certs_tool_config = ${localca}`,
    `create_certs_tool_options = ${options}`,
    'active_pcr_banks = sha256',
  ]);
  await runProgram(
    'swtpm_setup',
    ['--tpm2', '--tpmstate', `dir://${folder}`, '--create-ek-cert', '--lock-nvram', '--pcr-banks', 'sha256'].concat([
      '--write-ek-cert-files',
      folder,
      '--config',
      setup,
    ]),
    { signal },
  );
  return {
    folder,
    ekCertificatePath: join(folder, 'ek-rsa2048.crt'),
    rootPaths: [join(ca, 'swtpm-localca-rootca-cert.pem'), join(ca, 'issuercert.pem')],
    controlSocket: join(folder, 'control.sock'),
  };
}

/** Starts the TPM; it ends with the machine that connects to it. */
export async function startTpm(tpm: SoftwareTpm): Promise<StartedService> {
  const control = `type=unixio,path=${tpm.controlSocket}`;
  const service = await startService(
    'swtpm',
    ['socket', '--tpm2', '--tpmstate', `dir=${tpm.folder}`, '--ctrl', control, '--terminate'],
    join(tpm.folder, 'swtpm.log'),
  );
  for (let tries = 0; tries < 200; tries++) {
    if (await stat(tpm.controlSocket).catch(() => undefined)) break;
    await delay(20);
  }
  return service;
}
