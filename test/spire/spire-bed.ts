import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, readFile, readlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { interopProgram } from '../interop/interop-program.ts';
import { childrenOf } from '../simulator/child-processes.ts';
import { freePort } from '../simulator/free-port.ts';
import { NativeAdmin } from '../simulator/native-admin.ts';
import { NativeNode, nativeNodeMissing, TRUST_DOMAIN } from '../simulator/native-node.ts';
import type { HostProcess } from '../simulator/simulated-host.ts';

export const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

const server = interopProgram('spire-server');
const agent = interopProgram('spire-agent');

/** Why the real SPIRE cannot be run with the plugins here; false where it can. */
export function spireBedMissing(): string | false {
  const missing = nativeNodeMissing();
  const absent = 'absent' in server ? server.absent : 'absent' in agent ? agent.absent : undefined;
  const reason = [missing, absent].filter((text) => text !== undefined).join('; ');
  if (reason !== '' && process.env['CI'] === 'true') throw new Error(`CI=true, and ${reason}`);
  return reason === '' ? false : reason;
}

/** What of the plugins' configuration a test says. */
export interface SpireOptions {
  /** Lines of WorkloadAttestor's plugin_data; undefined: no such plugin. */
  readonly workload?: readonly string[] | undefined;
  /** Its plugin_data_file, in place of lines. */
  readonly workloadFile?: string;
  /** True: no other workload attestor than Lacre's. */
  readonly alone?: boolean;
  /** True: node attestation by Lacre's plugins; else by join token. */
  readonly nodePlugins?: boolean;
  /** The agent's; by default the server's. */
  readonly trustDomain?: string;
  /** Lines of the server half's plugin_data. */
  readonly serverHalf?: readonly string[];
}

/** What SPIRE starts as a plugin. */
export interface PluginProgram {
  readonly command: string;
  /** Before the plugin's own. */
  readonly args: readonly string[];
  /** After them. */
  readonly options: readonly string[];
  readonly sha256?: string;
}

const FROM_SOURCES: PluginProgram = { command: process.execPath, args: [MAIN], options: [] };

/** An unmodified spire-server beside a Lacre server, and an unmodified spire-agent on the node, in Lacre's native node. */
export class SpireBed implements AsyncDisposable {
  readonly node: NativeNode;
  readonly admin: NativeAdmin;
  readonly log: string[] = [];
  readonly apiSocket: string;
  /** spire-server's, on 127.0.0.1. */
  readonly port: number;
  plugin = FROM_SOURCES;
  #server: ChildProcess | undefined;
  #agent: HostProcess | undefined;

  private constructor(node: NativeNode, admin: NativeAdmin, port: number) {
    this.node = node;
    this.admin = admin;
    this.port = port;
    this.apiSocket = join(node.directory, 'spire-api.sock');
  }

  /** A Lacre server that knows node, host and image; SPIRE doesn't run yet. */
  static async create(seed: string, options: { readonly quoteMs?: number } = {}): Promise<SpireBed> {
    const node = await NativeNode.create({ seed, serverSettings: 'quote_interval: 1s', ...options });
    await node.startServer();
    const admin = new NativeAdmin(node);
    await admin.approve();
    await admin.addNode();
    await writeFile(join(node.directory, 'lacre-bundle.pem'), await admin.bundlePem());
    return new SpireBed(node, admin, await freePort());
  }

  /** plugin_data of both halves on the agent's side, for this node; another folder, another attestation key. */
  nodeData(folder = 'spire-node'): string[] {
    const { directory, kernel } = this.node;
    return [`data_dir = "${directory}/${folder}"`, ...this.#nodeData(kernel.listPath, kernel.eventLogPath)];
  }

  /** plugin_data of WorkloadAttestor "lacre" for this node; the grade of the host is what this machine's kernel has. */
  workloadData(more: readonly string[] = []): string[] {
    const { directory, kernel, programs } = this.node;
    return [
      `server = "127.0.0.1:${programs.port}"`,
      `bundle = "${directory}/lacre-bundle.pem"`,
      `data_dir = "${directory}/spire-workload"`,
      ...this.#nodeData(kernel.listPath, kernel.eventLogPath),
      'require = ["host:open", "config:image"]',
      `engine { podman { storage = "${directory}/storage"  run = "${directory}/run" } }`,
      ...more,
    ];
  }

  async startServer({ nodePlugins = false, serverHalf = [] }: SpireOptions = {}): Promise<void> {
    const { directory, programs } = this.node;
    const data = [`verifier_socket = "${programs.verifierSocket}"`, ...serverHalf];
    const attestor = nodePlugins ? this.#external('NodeAttestor', 'lacre_tpm', 'server-node-attestor', data) : '';
    const text = `server {
  bind_address = "127.0.0.1"
  bind_port = ${this.port}
  socket_path = "${this.apiSocket}"
  trust_domain = "${TRUST_DOMAIN}"
  data_dir = "${directory}/spire-server"
  log_level = "DEBUG"
  log_file = "${directory}/spire-server.log"
  agent_ttl = "30s"
}
plugins {
  DataStore "sql" { plugin_data { database_type = "sqlite3" connection_string = "${directory}/spire-server/datastore.sqlite3" } }
  KeyManager "memory" { plugin_data {} }
  NodeAttestor "join_token" { plugin_data {} }
  ${attestor}
}
`;
    await mkdir(join(directory, 'spire-server'), { recursive: true });
    const config = join(directory, 'spire-server.conf');
    await writeFile(config, text);
    const started = spawn(program(server), ['run', '-config', config], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#server = started;
    this.#keep('spire-server', started.stdout);
    this.#keep('spire-server', started.stderr);
    const ended = once(started, 'exit').then(() => true);
    for (let tries = 0; tries < 300; tries++) {
      const { status } = await this.serverCommand('healthcheck');
      if (status === 0) return;
      if (await Promise.race([ended, delay(50).then(() => false)])) break;
    }
    throw new Error(`spire-server did not start\n${await this.logText()}`);
  }

  /** @param wait until the Workload API's socket is there */
  async startAgent(
    { workload, workloadFile, nodePlugins = false, alone = false, trustDomain = TRUST_DOMAIN }: SpireOptions,
    wait = true,
  ): Promise<void> {
    const { directory, programs } = this.node;
    const token = nodePlugins ? '' : await this.#joinToken();
    const text = `agent {
  data_dir = "${directory}/spire-agent"
  log_level = "DEBUG"
  log_file = "${directory}/spire-agent.log"
  server_address = "127.0.0.1"
  server_port = ${this.port}
  socket_path = "${programs.workloadSocket}"
  trust_domain = "${trustDomain}"
  insecure_bootstrap = true
}
plugins {
  KeyManager "memory" { plugin_data {} }
  ${nodePlugins ? this.#external('NodeAttestor', 'lacre_tpm', 'agent-node-attestor', this.nodeData()) : 'NodeAttestor "join_token" { plugin_data {} }'}
  ${alone ? '' : 'WorkloadAttestor "unix" { plugin_data {} }'}
  ${workload === undefined && workloadFile === undefined ? '' : this.#external('WorkloadAttestor', 'lacre', 'workload-attestor', workload ?? [], workloadFile)}
}
`;
    await mkdir(join(directory, 'spire-agent'), { recursive: true });
    const config = join(directory, 'spire-agent.conf');
    await writeFile(config, text);
    const args = ['run', '-config', config, ...(token === '' ? [] : ['-joinToken', token])];
    this.#agent = await this.node.spawnOnHost(program(agent), args);
    this.#keep('spire-agent', this.#agent.stderr);
    if (wait) await programs.appears(programs.workloadSocket, this.#agent.ended);
  }

  /** Pids of the plugins that spire-agent started. */
  pluginPids(): Promise<number[]> {
    return childrenOf(this.#agent?.pid);
  }

  /** Where the one plugin that spire-agent started listens. */
  async pluginSocket(): Promise<string> {
    const [pid] = await this.pluginPids();
    const links = await readdir(`/proc/${pid}/fd`).then((fds) =>
      Promise.all(fds.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => ''))),
    );
    const own = new Set(links.map((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1]));
    const sockets = (await readFile(`/proc/${pid}/net/unix`, 'utf8')).split('\n').map((line) => line.split(/ +/));
    const socket = sockets.find(([, , , , , , inode, path]) => own.has(inode) && path?.endsWith('/plugin.sock'));
    if (socket?.[7] === undefined) throw new Error(`plugin ${pid} listens nowhere`);
    return socket[7];
  }

  /** SIGUSR1: spire-agent gives its plugins their configuration anew. */
  reloadAgent(): void {
    process.kill(this.#agent?.pid ?? 0, 'SIGUSR1');
  }

  /** Pids of the plugins that spire-server started. */
  serverPluginPids(): Promise<number[]> {
    return childrenOf(this.#server?.pid);
  }

  /** Exit status of `spire-agent healthcheck`: 0, it is healthy. */
  async agentHealth(): Promise<unknown> {
    // A process that ends at once would be gone before its pid is known.
    const script = 'sleep 0.3; exec "$0" healthcheck -socketPath "$1"';
    const args = ['-c', script, program(agent), this.node.programs.workloadSocket];
    const ended = (await this.node.spawnOnHost('sh', args)).ended as Promise<readonly unknown[]>;
    return (await ended)[0];
  }

  get agentEnded(): Promise<unknown> | undefined {
    return this.#agent?.ended;
  }

  serverCommand(
    ...args: string[]
  ): Promise<{ readonly status: number; readonly stdout: string; readonly stderr: string }> {
    return new Promise((resolve) => {
      execFile(
        program(server),
        [...args, '-socketPath', this.apiSocket],
        { timeout: 30_000 },
        (error, stdout, stderr) => {
          resolve({ status: error === null ? 0 : typeof error.code === 'number' ? error.code : 1, stdout, stderr });
        },
      );
    });
  }

  /** An entry for every workload of the node's agent that has these selectors. */
  async addEntry(path: string, parentId: string, selectors: readonly string[]): Promise<void> {
    const args = ['entry', 'create', '-spiffeID', `spiffe://${TRUST_DOMAIN}/${path}`, '-parentID', parentId];
    const run = await this.serverCommand(...args, ...selectors.flatMap((selector) => ['-selector', selector]));
    if (run.status !== 0) throw new Error(run.stderr);
  }

  /** SPIFFE IDs of the agents that spire-server knows. */
  async agentIds(): Promise<string[]> {
    const { stdout } = await this.serverCommand('agent', 'list', '-output', 'json');
    const { agents = [] } = JSON.parse(stdout) as { agents?: { id: { trust_domain: string; path: string } }[] };
    return agents.map(({ id }) => `spiffe://${id.trust_domain}${id.path}`);
  }

  async untilLogged(text: string | RegExp, timeoutMs = 20_000): Promise<string> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const line = (await this.logText())
        .split('\n')
        .find((one) => (typeof text === 'string' ? one.includes(text) : text.test(one)));
      if (line !== undefined) return line;
      if (performance.now() > deadline)
        throw new Error(`not logged within ${timeoutMs} ms: ${text}\n${await this.logText()}`);
      await delay(50);
    }
  }

  /** What server and agent logged so far, their plugins' lines among it. */
  async logText(): Promise<string> {
    const files = ['spire-server.log', 'spire-agent.log'].map((name) => join(this.node.directory, name));
    const texts = await Promise.all(files.map((file) => readFile(file, 'utf8').catch(() => '')));
    return [...this.log, ...texts].join('');
  }

  async stopAgent(signal: 'SIGKILL' | 'SIGTERM' = 'SIGTERM'): Promise<void> {
    const started = this.#agent;
    this.#agent = undefined;
    if (started === undefined) return;
    try {
      process.kill(started.pid, signal);
    } catch {
      // It has ended by itself.
    }
    await started.ended;
  }

  async stopServer(): Promise<void> {
    const started = this.#server;
    this.#server = undefined;
    if (started === undefined || started.exitCode !== null || started.signalCode !== null) return;
    const ended = once(started, 'exit');
    started.kill('SIGTERM');
    await ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopAgent();
    await this.stopServer();
    this.admin[Symbol.dispose]();
    await this.node[Symbol.asyncDispose]();
  }

  #nodeData(list: string, eventLog: string): string[] {
    return [
      `tpm = "${this.node.proxy.address}"`,
      `endorsement_intermediates = "${this.node.tpm.issuerPath}"`,
      `measurement_list = "${list}"`,
      `event_log = "${eventLog}"`,
    ];
  }

  #external(type: string, name: string, command: string, data: readonly string[], file?: string): string {
    const { args, options, sha256, command: path } = this.plugin;
    const configuration =
      file === undefined ? `plugin_data {\n      ${data.join('\n      ')}\n    }` : `plugin_data_file = "${file}"`;
    return `${type} "${name}" {
    plugin_cmd = "${path}"
    plugin_args = ${JSON.stringify([...args, 'spire', command, ...options])}
    ${sha256 === undefined ? '' : `plugin_checksum = "${sha256}"`}
    ${configuration}
  }`;
  }

  async #joinToken(): Promise<string> {
    const run = await this.serverCommand(
      'token',
      'generate',
      '-spiffeID',
      `spiffe://${TRUST_DOMAIN}/node`,
      '-output',
      'json',
    );
    return (JSON.parse(run.stdout) as { value: string }).value;
  }

  #keep(who: string, stream: NodeJS.ReadableStream): void {
    stream.setEncoding('utf8').on('data', (text: string) => {
      this.log.push(text);
      if (process.env['LACRE_TEST_LOG'] !== undefined) process.stderr.write(`${who}: ${text}`);
    });
  }
}

function program(found: typeof server): string {
  if ('path' in found) return found.path;
  throw new Error(found.absent);
}
