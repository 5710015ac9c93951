import { isMap, isScalar, LineCounter, type Node, type ParsedNode, parseDocument } from 'yaml';
import type { z } from 'zod';
import { TrustDomain } from '../identity/trust-domain.ts';
import { isLacreError, LacreError } from '../lacre-error.ts';
import { CONFIG_SETTINGS, type ConfigOverride } from './config-override.ts';
import { type ConfigFile, ConfigFileSchema, parseDurationMs } from './config-schema.ts';

/** Configuration of the server as the programs use it; times in milliseconds. */
export interface ServerConfig {
  readonly trustDomain: TrustDomain;
  readonly listen: { readonly host: string; readonly port: number };
  readonly admin: { readonly socket: string };
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

/** One thing that is wrong with a configuration, and where. */
export interface ConfigFault {
  /** As "ca.svid_ttl"; empty: the file as a whole. */
  readonly key: string;
  /** From 1. Undefined where an environment variable or a flag is at fault. */
  readonly line: number | undefined;
  readonly column: number | undefined;
  /** Name of the environment variable or flag at fault. */
  readonly source: string | undefined;
  readonly message: string;
}

const MAX_BYTES = 1024 * 1024;

/**
 * Reads a configuration file's text, with overrides over it in their order (later ones win).
 * @param name of the file, for messages.
 * Codes: server.config.invalid, whose sentence names every fault, each with line and column.
 */
export function parseConfig(name: string, text: string, overrides: readonly ConfigOverride[] = []): ServerConfig {
  const result = checkConfig(text, overrides);
  if (!('faults' in result)) return result.config;
  const lines = result.faults.map((fault) => {
    const where = fault.source ?? (fault.line === undefined ? name : `${name}:${fault.line}:${fault.column}`);
    return `${where}: ${fault.key === '' ? '' : `${fault.key}: `}${fault.message}`;
  });
  const count = lines.length === 1 ? '1 fault' : `${lines.length} faults`;
  throw new LacreError('server.config.invalid', `the configuration has ${count}:\n  ${lines.join('\n  ')}`, {
    file: name,
    faults: lines.length,
  });
}

/** As parseConfig, with the faults as a value. */
export function checkConfig(
  text: string,
  overrides: readonly ConfigOverride[] = [],
): { config: ServerConfig } | { faults: ConfigFault[] } {
  if (text.length > MAX_BYTES) return { faults: [fileFault('the file is longer than 1 MiB')] };
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, strict: true, uniqueKeys: true });
  const place = (offset: number) => ({ line: lines.linePos(offset).line, column: lines.linePos(offset).col });
  const syntax = document.errors.map((error) => ({
    key: '',
    source: undefined,
    message: error.message,
    ...place(error.pos[0]),
  }));
  if (syntax.length > 0) return { faults: syntax };
  if (document.contents !== null && !isMap(document.contents))
    return { faults: [fileFault('the file must hold keys and values')] };
  const plain = plainOf(document);
  if (plain === undefined) return { faults: [fileFault('the file has too many aliases')] };
  for (const override of overrides) setAt(plain, override.path, override.value);
  const parsed = ConfigFileSchema.safeParse(plain);
  const issues = parsed.success ? [] : parsed.error.issues.flatMap(plainIssues);
  const built = parsed.success ? build(parsed.data, issues) : undefined;
  if (built !== undefined && issues.length === 0) return { config: built };
  const faults = issues.map(({ path, message, atKey = false }): ConfigFault => {
    const key = keyText(path);
    const override = overrides.findLast((candidate) => candidate.path.join('.') === path.join('.'));
    if (override !== undefined) return { key, line: undefined, column: undefined, source: override.source, message };
    return { key, source: undefined, message, ...place(offsetOf(document.contents, path, atKey)) };
  });
  return { faults: faults.sort((a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0)) };
}

interface Issue {
  readonly path: readonly PropertyKey[];
  readonly message: string;
  /** The key itself is at fault, not its value. */
  readonly atKey?: boolean;
}

function plainIssues(issue: z.core.$ZodIssue): Issue[] {
  if (issue.code !== 'unrecognized_keys') return [{ path: issue.path, message: issue.message }];
  return issue.keys.map((key) => ({ path: [...issue.path, key], message: 'there is no such key', atKey: true }));
}

function build(file: ConfigFile, issues: Issue[]): ServerConfig | undefined {
  const trustDomain = trustDomainOf(file.trust_domain, issues);
  const listen = listenOf(file.listen, issues);
  if (trustDomain === undefined || listen === undefined) return undefined;
  const ms = (text: string): number => parseDurationMs(text) ?? 0;
  const { ca, limits } = file;
  return {
    trustDomain,
    listen,
    admin: file.admin,
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

function trustDomainOf(text: string, issues: Issue[]): TrustDomain | undefined {
  try {
    return TrustDomain.parse(text);
  } catch (error) {
    if (!isLacreError(error)) throw error;
    issues.push({ path: ['trust_domain'], message: error.message });
    return undefined;
  }
}

/** "host:port", IPv6 in brackets. */
function listenOf(text: string, issues: Issue[]): ServerConfig['listen'] | undefined {
  const match = /^(?:\[([0-9a-fA-F:.%]+)\]|([^\s:[\]]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  const host = match?.[1] ?? match?.[2];
  if (host !== undefined && port <= 65_535) return { host, port };
  issues.push({ path: ['listen'], message: 'host:port is needed, such as 127.0.0.1:8443 or [::1]:8443' });
  return undefined;
}

function plainOf(document: ReturnType<typeof parseDocument>): Record<string, unknown> | undefined {
  try {
    return (document.toJS({ maxAliasCount: 100 }) as Record<string, unknown> | null) ?? {};
  } catch {
    return undefined;
  }
}

function setAt(target: Record<string, unknown>, path: readonly string[], value: string): void {
  const setting = CONFIG_SETTINGS.find((candidate) => candidate.path.join('.') === path.join('.'));
  let at = target;
  for (const name of path.slice(0, -1)) {
    const next = at[name];
    const child = typeof next === 'object' && next !== null ? (next as Record<string, unknown>) : {};
    at[name] = child;
    at = child;
  }
  const last = path.at(-1) ?? '';
  at[last] = setting?.kind === 'integer' && /^\d{1,15}$/.test(value) ? Number(value) : value;
}

/** Where a key stands: its own place, or that of the nearest thing above it which the file has. */
function offsetOf(contents: ParsedNode | null, path: readonly PropertyKey[], atKey: boolean): number {
  let node: Node | null = contents;
  let offset = contents?.range[0] ?? 0;
  for (const [depth, part] of path.entries()) {
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && item.key.value === part);
      if (pair === undefined) return offset;
      const at = depth === path.length - 1 && isScalar(pair.value) && !atKey ? pair.value : pair.key;
      offset = (at as Node | null)?.range?.[0] ?? offset;
      node = pair.value as Node | null;
    } else {
      const item: unknown = node !== null && 'items' in node ? (node.items as unknown[])[Number(part)] : undefined;
      if (item === undefined) return offset;
      node = item as Node;
      offset = node.range?.[0] ?? offset;
    }
  }
  return offset;
}

function keyText(path: readonly PropertyKey[]): string {
  return path
    .map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`))
    .join('')
    .replace(/^\./, '');
}

function fileFault(message: string): ConfigFault {
  return { key: '', line: 1, column: 1, source: undefined, message };
}
