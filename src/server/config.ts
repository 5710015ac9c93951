import { readConfigFile } from '../config-file.ts';
import { TrustDomain } from '../identity/trust-domain.ts';
import type { AllowedTpm } from '../tpm/endorsement.ts';
import { type ConfigFile, ConfigFileSchema, parseDurationMs } from './config-schema.ts';

/** Configuration of the server as the programs use it; times in milliseconds. */
export interface ServerConfig {
  readonly trustDomain: TrustDomain;
  readonly listen: { readonly host: string; readonly port: number };
  readonly admin: { readonly socket: string };
  /** Where the plugins of a spire-server ask; undefined: nowhere. */
  readonly verifier: { readonly socket: string; readonly group?: string | undefined } | undefined;
  readonly dataDir: string;
  readonly ca: {
    readonly key: 'disk' | 'memory';
    readonly ttlMs: number;
    readonly svidTtlMs: number;
    readonly agentSvidTtlMs: number;
    readonly subject: { readonly organization: string; readonly commonName: string };
  };
  readonly endorsement: {
    readonly roots: readonly { readonly path: string; readonly tier: 'hardware' | 'vtpm' | 'software' }[];
    readonly expired: 'refuse' | 'accept';
    readonly allow: readonly AllowedTpm[];
  };
  readonly quoteIntervalMs: number;
  readonly pollIntervalMs: number;
  readonly log: { readonly level: ConfigFile['log']['level']; readonly format: 'json' | 'text' };
  readonly limits: {
    readonly containersPerNode: number;
    readonly requestsPerEvidence: number;
    readonly listBytes: number;
    readonly concurrentEnrolments: number;
    readonly parkedNodes: number;
    readonly sessions: number;
  };
}

/** Settings from outside the file. */
export interface ConfigOver {
  readonly environment?: Readonly<Record<string, string | undefined>>;
  readonly flags?: Readonly<Record<string, string | undefined>>;
}

/**
 * Reads a configuration file's text; variables LACRE_SERVER_* lie over it, flags over both.
 * @param name of the file, for messages.
 * Codes: server.config.invalid, whose sentence names every fault, each with line and column.
 */
export function parseConfig(name: string, text: string, over: ConfigOver = {}): ServerConfig {
  const source = {
    schema: ConfigFileSchema,
    name,
    text,
    prefix: 'LACRE_SERVER_',
    code: 'server.config.invalid',
  } as const;
  return configOf(readConfigFile({ ...source, ...over }));
}

function configOf(file: ConfigFile): ServerConfig {
  const ms = (text: string): number => parseDurationMs(text) ?? 0;
  const { ca, limits } = file;
  const colon = file.listen.lastIndexOf(':');
  return {
    trustDomain: TrustDomain.parse(file.trust_domain),
    listen: {
      host: file.listen.slice(0, colon).replace(/^\[(.*)\]$/, '$1'),
      port: Number(file.listen.slice(colon + 1)),
    },
    admin: file.admin,
    verifier: file.verifier,
    dataDir: file.data_dir,
    ca: {
      key: ca.key,
      ttlMs: ms(ca.ttl),
      svidTtlMs: ms(ca.svid_ttl),
      agentSvidTtlMs: ms(ca.agent_svid_ttl),
      subject: { organization: ca.subject.organization, commonName: ca.subject.common_name },
    },
    endorsement: file.endorsement,
    quoteIntervalMs: ms(file.quote_interval),
    pollIntervalMs: ms(file.poll_interval),
    log: file.log,
    limits: {
      containersPerNode: limits.containers_per_node,
      requestsPerEvidence: limits.requests_per_evidence,
      listBytes: limits.list_bytes,
      concurrentEnrolments: limits.concurrent_enrolments,
      parkedNodes: limits.parked_nodes,
      sessions: limits.sessions,
    },
  };
}
