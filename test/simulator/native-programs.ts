import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePort } from './free-port.ts';
import type { HostProcess, SimulatedHost } from './simulated-host.ts';

/** Signals that end a program: at once, or in order. */
export type EndSignal = 'SIGKILL' | 'SIGTERM';

/** How the programs are started; each gets its configuration's path as a last argument. */
export interface ProgramCommands {
  readonly server: readonly string[];
  readonly agent: readonly string[];
}

const FROM_SOURCES: ProgramCommands = {
  server: [process.execPath, main('run-server.ts')],
  agent: [process.execPath, main('run-agent.ts')],
};

/** Server and agent as processes of their own, the agent on the simulated host. */
export class NativePrograms {
  readonly adminSocket: string;
  readonly verifierSocket: string;
  readonly workloadSocket: string;
  /** The server's, on 127.0.0.1; the same over restarts. */
  readonly port: number;
  /** What both wrote to stderr, for a failed test to show. */
  readonly log: string[] = [];
  readonly #directory: string;
  readonly #host: SimulatedHost;
  readonly #commands: ProgramCommands;
  #server: ChildProcess | undefined;
  #agent: HostProcess | undefined;

  private constructor(directory: string, host: SimulatedHost, port: number, commands: ProgramCommands) {
    this.#commands = commands;
    this.#directory = directory;
    this.#host = host;
    this.port = port;
    this.adminSocket = join(directory, 'admin.sock');
    this.verifierSocket = join(directory, 'verifier', 'verifier.sock');
    this.workloadSocket = join(directory, 'agent/workload.sock');
  }

  static async create(
    directory: string,
    host: SimulatedHost,
    commands: ProgramCommands = FROM_SOURCES,
  ): Promise<NativePrograms> {
    return new NativePrograms(directory, host, await freePort(), commands);
  }

  get serverPid(): number | undefined {
    return this.#server?.pid;
  }

  get agentPid(): number | undefined {
    return this.#agent?.pid;
  }

  /** Returns when the admin socket is there. */
  async startServer(lines: readonly string[]): Promise<void> {
    const config = join(this.#directory, 'server.yaml');
    await writeFile(config, lines.join('\n'));
    await rm(this.adminSocket, { force: true });
    const [program = '', ...args] = this.#commands.server;
    const server = spawn(program, [...args, config], { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#server = server;
    this.#keepLog('server', server.stderr);
    await this.appears(this.adminSocket, once(server, 'exit'));
  }

  /** Returns when the Workload API's socket is there. */
  async startAgent(lines: readonly string[]): Promise<void> {
    const config = join(this.#directory, 'agent.yaml');
    await writeFile(config, lines.join('\n'));
    await rm(this.workloadSocket, { force: true });
    const [program = '', ...args] = this.#commands.agent;
    const agent = await this.#host.spawn(program, [...args, config]);
    this.#agent = agent;
    this.#keepLog('agent', agent.stderr);
    await this.appears(this.workloadSocket, agent.ended);
  }

  async stopServer(signal: EndSignal): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined || server.exitCode !== null || server.signalCode !== null) return;
    const ended = once(server, 'exit');
    server.kill(signal);
    await ended;
  }

  async stopAgent(signal: EndSignal): Promise<void> {
    const agent = this.#agent;
    this.#agent = undefined;
    if (agent === undefined) return;
    process.kill(agent.pid, signal);
    await agent.ended;
  }

  /** Waits for a file that a program makes; fails where the program ends first. */
  async appears(path: string, ended: Promise<unknown>): Promise<void> {
    let hasEnded = false;
    ended.then(() => {
      hasEnded = true;
    });
    for (let tries = 0; tries < 1000 && !hasEnded; tries++) {
      const isThere = await stat(path).catch(() => undefined);
      if (isThere !== undefined) return;
      await delay(20);
    }
    throw new Error(`${path} did not appear\n${this.log.join('')}`);
  }

  #keepLog(who: string, stderr: NodeJS.ReadableStream): void {
    stderr.setEncoding('utf8').on('data', (text: string) => this.log.push(`${who}: ${text}`));
  }
}

function main(file: string): string {
  return fileURLToPath(new URL(file, import.meta.url));
}
