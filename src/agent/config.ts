import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { readConfigFile } from '../config-file.ts';
import { LacreError } from '../lacre-error.ts';
import { type AgentConfigFile, AgentConfigSchema } from './config-schema.ts';
import type { EnginePlaces } from './engine/engines.ts';
import type { CertificateSource } from './tpm-certificate.ts';
import type { TpmOptions } from './tpm-client.ts';

/** Configuration of the agent as the program uses it. */
export interface AgentConfig {
  readonly trustDomain: string;
  readonly server: { readonly host: string; readonly port: number };
  /** The pinned certificates, DER: at least one. There is no trust on first use. */
  readonly bundle: readonly Uint8Array[];
  readonly dataDir: string;
  readonly workloadSocket: string;
  readonly tpm: string;
  readonly tpmOptions?: Pick<TpmOptions, 'akAlgorithm' | 'ekTemplate'>;
  readonly endorsementCertificate?: CertificateSource;
  /** Certificates between the EK's and its root that the TPM does not hold, DER. */
  readonly endorsementIntermediates: readonly Uint8Array[];
  readonly measurementList: string;
  readonly eventLog: string;
  readonly engine: EnginePlaces;
  readonly log: AgentConfigFile['log'];
}

/** Settings from outside the file. */
export interface ConfigOver {
  readonly environment?: Readonly<Record<string, string | undefined>>;
  readonly flags?: Readonly<Record<string, string | undefined>>;
}

const MAX_BUNDLE_BYTES = 1024 * 1024;

/**
 * Reads a configuration's text; variables LACRE_AGENT_* and flags lie over it.
 * Codes: agent.config.invalid, whose sentence names every fault with its line and column.
 */
export function parseAgentConfig(name: string, text: string, over: ConfigOver = {}): AgentConfigFile {
  return readConfigFile({
    schema: AgentConfigSchema,
    name,
    text,
    prefix: 'LACRE_AGENT_',
    code: 'agent.config.invalid',
    ...over,
  });
}

/** Reads the configuration file and the pinned bundle that it names. Codes: agent.config.invalid. */
export async function loadAgentConfig(path: string, over: ConfigOver = {}): Promise<AgentConfig> {
  const file = parseAgentConfig(path, (await readText(path, 'configuration')).toString('utf8'), over);
  const colon = file.server.lastIndexOf(':');
  return {
    trustDomain: file.trust_domain,
    server: {
      host: file.server.slice(0, colon).replace(/^\[(.*)\]$/, '$1'),
      port: Number(file.server.slice(colon + 1)),
    },
    bundle: await pemFile(file.bundle),
    dataDir: file.data_dir,
    workloadSocket: file.workload_socket,
    tpm: file.tpm,
    tpmOptions: { akAlgorithm: file.tpm_ak, ekTemplate: file.ek_template },
    endorsementCertificate: { file: file.endorsement_certificate, url: file.endorsement_url },
    endorsementIntermediates:
      file.endorsement_intermediates === undefined ? [] : await pemFile(file.endorsement_intermediates),
    measurementList: file.measurement_list,
    eventLog: file.event_log,
    engine: file.engine,
    log: file.log,
  };
}

async function pemFile(path: string): Promise<Uint8Array[]> {
  return pemCertificates(path, await readText(path, 'PEM file'));
}

async function readText(path: string, what: string): Promise<Buffer> {
  try {
    const bytes = await readFile(path);
    if (bytes.length <= MAX_BUNDLE_BYTES) return bytes;
  } catch (cause) {
    const reason = (cause as NodeJS.ErrnoException).code ?? 'unknown';
    throw new LacreError('agent.config.invalid', `the ${what} ${path} can't be read: ${reason}`, { path }, { cause });
  }
  throw new LacreError('agent.config.invalid', `the ${what} ${path} is longer than 1 MiB`, { path });
}

/** The certificates of a PEM file, each as DER. Codes: agent.config.invalid where there is none, or one is malformed. */
export function pemCertificates(path: string, pem: Uint8Array): Uint8Array[] {
  const text = Buffer.from(pem).toString('latin1');
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]{1,100000}-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0 || blocks.length > 256) {
    throw new LacreError(
      'agent.config.invalid',
      `${path} must hold 1 to 256 PEM certificates; it holds ${blocks.length}`,
      {
        path,
      },
    );
  }
  return blocks.map((block, index) => {
    try {
      return new Uint8Array(new X509Certificate(block).raw);
    } catch (cause) {
      throw new LacreError(
        'agent.config.invalid',
        `certificate ${index + 1} in ${path} is malformed`,
        { path },
        { cause },
      );
    }
  });
}
