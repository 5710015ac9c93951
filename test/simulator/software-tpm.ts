import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { EndorsementRoot } from '../../src/tpm/endorsement.ts';

/** Why tests on a software TPM cannot run here; undefined where they can. */
export function softwareTpmMissing(): string | undefined {
  const absent = ['swtpm', 'swtpm_setup'].filter((program) => spawnSync(program, ['--version']).error !== undefined);
  return absent.length === 0 ? undefined : `${absent.join(' and ')} not installed`;
}

/**
 * For `test(name, {skip: skipWithoutSoftwareTpm()}, …)`: false, or the reason. Where CI=true a missing program is a
 * failure, not a reason.
 */
export function skipWithoutSoftwareTpm(): string | false {
  const reason = softwareTpmMissing();
  if (reason !== undefined && process.env['CI'] === 'true') throw new Error(`CI=true, and ${reason}`);
  return reason ?? false;
}

/** How a software TPM is made. */
export interface SoftwareTpmOptions {
  /** Folder of its state, made anew. Sockets lie in it, so it must be short (at most about 80 characters). */
  readonly directory: string;
  /** Folder of a CA shared by several TPMs; by default one below `directory`. */
  readonly caDirectory?: string;
  /** False: no EK certificates. */
  readonly certificates?: boolean;
  /** Banks that have PCRs, as swtpm_setup takes them: SHA-256 alone, or `sha384`, or `sha256,sha384`. */
  readonly banks?: string;
}

/** A real TPM 2.0, in software (swtpm): state on disk, a raw command socket, EK certificates by a CA of its own. */
export class SoftwareTpm {
  readonly directory: string;
  readonly #caDirectory: string;
  #process: ChildProcess | undefined;

  private constructor(directory: string, caDirectory: string) {
    this.directory = directory;
    this.#caDirectory = caDirectory;
  }

  /** Makes the state of a new TPM (swtpm_setup); not running yet. */
  static async create(options: SoftwareTpmOptions): Promise<SoftwareTpm> {
    const { directory, caDirectory = join(directory, 'ca') } = options;
    await mkdir(directory, { recursive: true });
    await mkdir(caDirectory, { recursive: true });
    const config = await writeCaConfiguration(directory, caDirectory);
    const certificates = options.certificates === false ? [] : ['--create-ek-cert', '--lock-nvram'];
    const state = [
      '--tpm2',
      '--tpmstate',
      `dir://${directory}`,
      '--pcr-banks',
      options.banks ?? 'sha256',
      '--config',
      config,
    ];
    await promisify(execFile)('swtpm_setup', [...state, ...certificates]);
    return new SoftwareTpm(directory, caDirectory);
  }

  /** A TPM whose state lies in a folder already; not running yet. */
  static at(directory: string): SoftwareTpm {
    return new SoftwareTpm(directory, join(directory, 'ca'));
  }

  /** Address for openTpm. */
  get address(): string {
    return `unix:${this.socketPath}`;
  }

  get socketPath(): string {
    return join(this.directory, 'tpm.sock');
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** Powers the TPM on: a TPM Reset (resetCount rises), PCRs at their start. Returns when its socket is there. */
  async start(): Promise<void> {
    await rm(this.socketPath, { force: true });
    const child = spawn(
      'swtpm',
      [
        'socket',
        '--tpm2',
        '--tpmstate',
        `dir=${this.directory}`,
        '--server',
        `type=unixio,path=${this.socketPath}`,
        '--ctrl',
        `type=unixio,path=${join(this.directory, 'ctrl.sock')}`,
        '--flags',
        'startup-clear,not-need-init',
      ],
      { stdio: 'ignore' },
    );
    this.#process = child;
    for (let tries = 0; tries < 500; tries++) {
      if (await exists(this.socketPath)) return;
      if (child.exitCode !== null) throw new Error(`swtpm ended with status ${child.exitCode}`);
      await delay(10);
    }
    throw new Error('swtpm opened no socket within 5 s');
  }

  /** Powers it off. State that the TPM keeps without power stays. */
  async stop(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  }

  /** A reboot: off, and on with the same state. */
  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  /** The root of its EK certificates, as a server's configuration has it. */
  async root(): Promise<EndorsementRoot> {
    return { certificate: new X509Certificate(await readFile(this.rootPath)), tier: 'software' };
  }

  get rootPath(): string {
    return join(this.#caDirectory, 'swtpm-localca-rootca-cert.pem');
  }

  get issuerPath(): string {
    return join(this.#caDirectory, 'issuercert.pem');
  }

  /** The issuer between root and EK certificate, DER. */
  async intermediates(): Promise<Uint8Array[]> {
    return [new Uint8Array(new X509Certificate(await readFile(this.issuerPath)).raw)];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await rm(this.directory, { recursive: true, force: true });
  }
}

async function writeCaConfiguration(directory: string, caDirectory: string): Promise<string> {
  const ca = join(directory, 'localca.conf');
  const options = join(directory, 'localca.options');
  const setup = join(directory, 'setup.conf');
  await writeFile(
    ca,
    [
      `statedir = ${caDirectory}`,
      `signingkey = ${join(caDirectory, 'signkey.pem')}`,
      `issuercert = ${join(caDirectory, 'issuercert.pem')}`,
      `certserial = ${join(caDirectory, 'certserial')}`,
      '',
    ].join('\n'),
  );
  await writeFile(options, '--platform-manufacturer Lacre\n--platform-version 1.0\n--platform-model simulator\n');
  await writeFile(
    setup,
    [
      'create_certs_tool = swtpm_localca',
      `create_certs_tool_config = ${ca}`,
      `create_certs_tool_options = ${options}`,
      '',
    ].join('\n'),
  );
  return setup;
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
