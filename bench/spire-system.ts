import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { interopProgram } from '../test/interop/interop-program.ts';
import { childrenOf } from '../test/simulator/child-processes.ts';
import { freePort } from '../test/simulator/free-port.ts';
import { type NativeNode, TRUST_DOMAIN } from '../test/simulator/native-node.ts';
import type { OciContainer } from '../test/simulator/oci-container.ts';
import type { HostProcess } from '../test/simulator/simulated-host.ts';

const ENTRIES_A_CALL = 200;

/** WorkloadAttestor "lacre" of an agent. */
export interface LacrePlugin {
  readonly command: readonly string[];
  /** Lines of plugin_data. */
  readonly data: readonly string[];
  /** What every entry of this agent asks for besides the user: values of type lacre. */
  readonly selectors: readonly string[];
}

/** An unmodified SPIRE: its server beside Lacre's, its agents on the node, each with a Workload API and entries of its own. */
export class SpireSystem implements AsyncDisposable {
  readonly #node: NativeNode;
  readonly #directory: string;
  readonly #server: ChildProcess;
  readonly #agents = new Map<string, HostProcess>();
  readonly #entries = new Map<string, { readonly selectors: readonly string[]; readonly known: Set<string> }>();
  /** Containers that have an entry, by the agent's name; entries outlive the agent. */
  readonly #known = new Map<string, Set<string>>();
  #starts = 0;

  private constructor(node: NativeNode, directory: string, server: ChildProcess) {
    this.#node = node;
    this.#directory = directory;
    this.#server = server;
  }

  static async start(node: NativeNode, directory: string): Promise<SpireSystem> {
    const port = await freePort();
    const text = `server {
  bind_address = "127.0.0.1"
  bind_port = ${port}
  socket_path = "${apiSocket(directory)}"
  trust_domain = "${TRUST_DOMAIN}"
  data_dir = "${directory}/spire-server"
  log_level = "INFO"
  log_file = "${directory}/spire-server.log"
}
plugins {
  DataStore "sql" { plugin_data { database_type = "sqlite3" connection_string = "${directory}/spire-server/datastore.sqlite3" } }
  KeyManager "memory" { plugin_data {} }
  NodeAttestor "join_token" { plugin_data {} }
}
`;
    await mkdir(join(directory, 'spire-server'), { recursive: true });
    await writeFile(join(directory, 'spire-server.conf'), text);
    await writeFile(join(directory, 'spire-port'), String(port));
    const server = spawn(program('spire-server'), ['run', '-config', join(directory, 'spire-server.conf')], {
      stdio: 'ignore',
    });
    const system = new SpireSystem(node, directory, server);
    for (let tries = 0; tries < 300; tries++) {
      if (await system.#command('healthcheck').then(Boolean, () => false)) return system;
      await delay(100);
    }
    throw new Error(`spire-server did not start:\n${await readFile(join(directory, 'spire-server.log'), 'utf8')}`);
  }

  get serverPid(): number {
    return this.#server.pid ?? 0;
  }

  /** Starts an agent whose socket is NAME.sock where the containers see it, with the unix attestor, and Lacre's as well where that is given. */
  async startAgent(name: string, lacre?: LacrePlugin): Promise<void> {
    const port = await readFile(join(this.#directory, 'spire-port'), 'utf8');
    const socket = join(this.#node.directory, 'agent', `${name}.sock`);
    // An agent that starts again is a new one to spire-server.
    this.#starts += 1;
    const folder = join(this.#directory, `${name}-${this.#starts}`);
    const [command = '', ...args] = lacre?.command ?? [];
    const plugin = `WorkloadAttestor "lacre" {
    plugin_cmd = "${command}"
    plugin_args = ${JSON.stringify(args)}
    plugin_data {
      ${lacre?.data.join('\n      ')}
    }
  }`;
    const text = `agent {
  data_dir = "${folder}"
  log_level = "INFO"
  log_file = "${join(this.#directory, name)}.log"
  server_address = "127.0.0.1"
  server_port = ${port}
  socket_path = "${socket}"
  trust_domain = "${TRUST_DOMAIN}"
  insecure_bootstrap = true
}
plugins {
  KeyManager "memory" { plugin_data {} }
  NodeAttestor "join_token" { plugin_data {} }
  WorkloadAttestor "unix" { plugin_data {} }
  ${lacre === undefined ? '' : plugin}
}
`;
    await mkdir(folder, { recursive: true });
    await writeFile(`${folder}.conf`, text);
    const alias = `spiffe://${TRUST_DOMAIN}/node/${name}`;
    const { value } = JSON.parse(await this.#command('token', 'generate', '-spiffeID', alias, '-output', 'json'));
    const run = ['run', '-config', `${folder}.conf`, '-joinToken', value];
    const agent = await this.#node.spawnOnHost(program('spire-agent'), run);
    agent.stderr.resume();
    this.#agents.set(name, agent);
    const known = this.#known.get(name) ?? new Set();
    this.#known.set(name, known);
    this.#entries.set(name, { selectors: lacre?.selectors ?? [], known });
    await this.#node.programs.appears(socket, agent.ended);
  }

  /** An entry for each container that has none yet, for every agent: by its user on the host. */
  async addEntries(containers: readonly OciContainer[]): Promise<void> {
    for (const [name, { selectors, known }] of this.#entries) {
      const missing = containers.filter((container) => !known.has(container.name));
      for (let at = 0; at < missing.length; at += ENTRIES_A_CALL) {
        const entries = missing.slice(at, at + ENTRIES_A_CALL).map((container) => ({
          spiffe_id: `spiffe://${TRUST_DOMAIN}/${container.name}`,
          parent_id: `spiffe://${TRUST_DOMAIN}/node/${name}`,
          selectors: [
            { type: 'unix', value: `uid:${container.uidBase}` },
            ...selectors.map((value) => ({ type: 'lacre', value })),
          ],
        }));
        const file = join(this.#directory, 'spire-entries.json');
        await writeFile(file, JSON.stringify({ entries }));
        await this.#command('entry', 'create', '-data', file);
        for (const container of missing) known.add(container.name);
      }
    }
  }

  /** The agent, and what it started. */
  async agentPids(name: string): Promise<number[]> {
    const pid = this.#agents.get(name)?.pid ?? 0;
    return [pid, ...(await childrenOf(pid))];
  }

  async pluginPid(name: string): Promise<number> {
    const [, plugin = 0] = await this.agentPids(name);
    return plugin;
  }

  async stopAgent(name: string): Promise<void> {
    const agent = this.#agents.get(name);
    this.#agents.delete(name);
    this.#entries.delete(name);
    if (agent === undefined) return;
    process.kill(agent.pid, 'SIGTERM');
    await agent.ended;
    await rm(join(this.#node.directory, 'agent', `${name}.sock`), { force: true });
  }

  agentLog(name: string): Promise<string> {
    return readFile(join(this.#directory, `${name}.log`), 'utf8').catch(() => '');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const name of [...this.#agents.keys()]) await this.stopAgent(name);
    if (this.#server.exitCode !== null) return;
    const ended = once(this.#server, 'exit');
    this.#server.kill('SIGTERM');
    await ended;
  }

  async #command(...args: string[]): Promise<string> {
    const flags = ['-socketPath', apiSocket(this.#directory)];
    const { stdout } = await promisify(execFile)(program('spire-server'), [...args, ...flags], { timeout: 60_000 });
    return stdout;
  }
}

function apiSocket(directory: string): string {
  return join(directory, 'spire-api.sock');
}

function program(name: 'spire-server' | 'spire-agent'): string {
  const found = interopProgram(name);
  if ('path' in found) return found.path;
  throw new Error(found.absent);
}
