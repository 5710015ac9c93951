import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { LacreError } from '../../lacre-error.ts';
import type { AgentExecutable } from '../image/agent-executable.ts';
import type { LabRun } from '../lab-folder.ts';
import { freePort, type LabServer, TRUST_DOMAIN } from '../lab-server.ts';
import { runProgram, startService } from '../program.ts';

const START_TIME_LIMIT_MS = 30_000;

export interface SpireServerParts {
  /** spire-server's path. */
  readonly program: string;
  /** What it starts as NodeAttestor "lacre_tpm". */
  readonly plugin: AgentExecutable;
  /** The Lacre server that judges. */
  readonly server: LabServer;
  readonly run: LabRun;
  readonly signal: AbortSignal;
}

/** An agent as spire-server has it. */
export interface SpireAgentInfo {
  readonly spiffeId: string;
  readonly selectors: readonly string[];
}

/** An unmodified spire-server on this machine, with Lacre's executable as its node attestor. */
export class SpireServer {
  readonly port: number;
  readonly #parts: SpireServerParts;
  readonly #socket: string;

  private constructor(port: number, parts: SpireServerParts) {
    this.port = port;
    this.#parts = parts;
    this.#socket = join(parts.run.folder, 'spire.sock');
  }

  /** Starts it, and waits until it is healthy. Throws lab.server.start. */
  static async start(parts: SpireServerParts): Promise<SpireServer> {
    const { program, run, signal } = parts;
    const server = new SpireServer(await freePort(), parts);
    const config = join(run.folder, 'spire-server.conf');
    const log = join(run.folder, 'spire-server.log');
    await writeFile(config, server.#configuration(), { mode: 0o600 });
    const service = await startService(program, ['run', '-config', config], log, { TMPDIR: run.folder });
    await run.own(service);
    let ended = false;
    service.ended.finally(() => (ended = true)).catch(() => {});
    for (const late = Date.now() + START_TIME_LIMIT_MS; !(await server.#isHealthy()); ) {
      if (ended || Date.now() > late) {
        const said = await readFile(log, 'utf8').catch(() => '');
        const last = said.trim().split('\n').slice(-5).join(' | ');
        throw new LacreError('lab.server.start', `spire-server did not start: ${last}`);
      }
      await delay(100, undefined, { signal });
    }
    return server;
  }

  #configuration(): string {
    const { plugin, server, run } = this.#parts;
    const text = (value: string) => JSON.stringify(value);
    return `server {
  bind_address = "127.0.0.1"
  bind_port = ${this.port}
  socket_path = ${text(this.#socket)}
  trust_domain = "${TRUST_DOMAIN}"
  data_dir = ${text(run.folder)}
  log_level = "DEBUG"
  default_x509_svid_ttl = "5m"
  agent_ttl = "10m"
}
plugins {
  DataStore "sql" {
    plugin_data { database_type = "sqlite3" connection_string = ${text(join(run.folder, 'spire.sqlite3'))} }
  }
  KeyManager "memory" { plugin_data {} }
  NodeAttestor "lacre_tpm" {
    plugin_cmd = ${text(plugin.path)}
    plugin_checksum = "${plugin.sha256}"
    plugin_args = ["spire", "server-node-attestor", "--native-folder", ${text(join(run.folder, 'plugin'))}]
    plugin_data { verifier_socket = ${text(server.verifierSocket)} spire_socket = ${text(this.#socket)} }
  }
}
`;
  }

  async #isHealthy(): Promise<boolean> {
    return this.command('healthcheck').then(
      () => true,
      () => false,
    );
  }

  /** One `spire-server` command against this server; its output. */
  async command(...args: readonly string[]): Promise<string> {
    const { program, signal } = this.#parts;
    return (await runProgram(program, [...args, '-socketPath', this.#socket], { signal })).toString();
  }

  async createEntry(spiffeId: string, parentId: string, selectors: readonly string[]): Promise<void> {
    const options = selectors.flatMap((selector) => ['-selector', selector]);
    await this.command('entry', 'create', '-spiffeID', spiffeId, '-parentID', parentId, ...options);
  }

  async agents(): Promise<SpireAgentInfo[]> {
    const { agents = [] } = JSON.parse(await this.command('agent', 'list', '-output', 'json')) as {
      agents?: { id: { trust_domain: string; path: string }; selectors: { type: string; value: string }[] }[];
    };
    return agents.map(({ id, selectors }) => ({
      spiffeId: `spiffe://${id.trust_domain}${id.path}`,
      selectors: selectors.map(({ type, value }) => `${type}:${value}`),
    }));
  }

  /** What to try on it. */
  commands(): string[] {
    const on = (command: string) => `${this.#parts.program} ${command} -socketPath ${this.#socket}`;
    return [on('agent list'), on('entry show')];
  }
}
