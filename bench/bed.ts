import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { buildExecutable } from '../scripts/build-executable.ts';
import { interopProgram } from '../test/interop/interop-program.ts';
import { NativeAdmin } from '../test/simulator/native-admin.ts';
import { NativeNode } from '../test/simulator/native-node.ts';
import { cpuMs } from './process-cpu.ts';
import type { Switches, SwitchesDone } from './program/switches.ts';
import { SpireSystem } from './spire-system.ts';

/** Whether a request takes evidence that is older than it is: a switch of the bench. */
export const [FRESHER, FRESH_ENOUGH] = [true, false];

/** The Workload APIs that a container of the bed can ask. */
export type Api = 'lacre' | 'spire' | 'spire-lacre';

const SOCKETS: Readonly<Record<Api, string>> = {
  lacre: 'unix:///run/lacre/workload.sock',
  spire: 'unix:///run/lacre/spire.sock',
  'spire-lacre': 'unix:///run/lacre/spire-lacre.sock',
};

export interface RoundOptions {
  readonly count: number;
  /** A process each with go-spiffe; or the connections of one client, which starts with the first container after `skip`. */
  readonly client: 'processes' | 'light';
  /** One after the other. */
  readonly turns?: boolean;
  readonly skip?: number;
  readonly timeoutSeconds?: number;
}

/** What firstsvid saw, and what it cost. */
export interface Round {
  readonly got: number;
  readonly errors: Readonly<Record<string, number>>;
  readonly ms: {
    readonly mean: number;
    readonly p50: number;
    readonly p95: number;
    readonly p99: number;
    readonly max: number;
  };
  /** In order of size. */
  readonly samples: readonly number[];
  readonly wallMs: number;
  readonly quotes: number;
  /** CPU of the programs that serve the node's workloads, and of their server, in milliseconds for the whole round. */
  readonly agentCpuMs: number;
  readonly serverCpuMs: number;
}

interface Program {
  readonly pid: number;
  readonly switches: string;
}

/**
 * One node for many measures: real server and agent as packed executables, real software TPM behind a proxy that makes
 * quotes as slow as a chip's, real containers by an OCI runtime, and SPIRE beside it. Played: the measuring kernel, podman.
 */
export class Bed implements AsyncDisposable {
  readonly node: NativeNode;
  readonly admin: NativeAdmin;
  readonly firstsvid: string;
  readonly executable: string;
  readonly directory: string;
  #spire: Promise<SpireSystem> | undefined;
  #order = 0;
  #bundle = '';
  readonly #say: (text: string) => void;

  private constructor(made: {
    node: NativeNode;
    admin: NativeAdmin;
    firstsvid: string;
    executable: string;
    directory: string;
    say: (text: string) => void;
  }) {
    this.node = made.node;
    this.admin = made.admin;
    this.firstsvid = made.firstsvid;
    this.executable = made.executable;
    this.directory = made.directory;
    this.#say = made.say;
  }

  /** Server and agent run and trust each other; there are no containers yet. */
  static async create(say: (text: string) => void): Promise<Bed> {
    const client = interopProgram('firstsvid');
    if ('absent' in client) throw new Error(client.absent);
    const { path: executable } = await buildExecutable({
      entry: 'bench/program/lacre.ts',
      output: 'build/bench/lacre',
      work: 'build/bench/executable',
    });
    const directory = await mkdtemp(join(tmpdir(), 'lacre-bench-'));
    const node = await NativeNode.create({
      seed: 'bench',
      program: 'door.c',
      files: { '/bin/client': client.path },
      commands: {
        server: [...withSwitches(directory, 'server'), executable, 'server', 'run', '--config'],
        agent: [...withSwitches(directory, 'agent'), executable, 'agent', 'run', '--config'],
      },
    });
    await node.startServer(SERVER_SETTINGS);
    const admin = new NativeAdmin(node);
    await admin.approve();
    await admin.addNode();
    const bed = new Bed({ node, admin, firstsvid: client.path, executable, directory, say });
    bed.#bundle = await admin.bundlePem();
    await writeFile(join(directory, 'bundle.pem'), bed.#bundle);
    await bed.startAgent();
    return bed;
  }

  /** More containers, as many as are missing, each with an entry of its own. */
  async grow(count: number): Promise<void> {
    const from = this.node.containers.length;
    if (from >= count) return;
    this.#say(`containers ${from + 1} to ${count}`);
    const names = Array.from({ length: count - from }, (_, index) => `w${from + index + 1}`);
    for (const name of names) await this.node.addContainer(name);
    for (let at = 0; at < names.length; at += 100) await this.admin.addEntries(names.slice(at, at + 100));
    if (this.#spire !== undefined) await (await this.#spire).addEntries(this.node.containers);
    await this.#untilServed('lacre', count);
    if (this.#spire !== undefined) await this.#untilServed('spire', count);
  }

  async startAgent(): Promise<void> {
    await this.node.startAgent(this.#bundle);
    await this.untilAgentLogs('the server trusts this node');
  }

  /** Ends the server and starts it with other settings; the agent finds it again by itself. */
  async restartServer(settings = SERVER_SETTINGS): Promise<void> {
    await this.node.stopAgent('SIGTERM');
    await this.node.stopServer('SIGTERM');
    await this.node.startServer(settings);
    await this.startAgent();
  }

  /** SPIRE with its unix attestor, beside Lacre; started when it is first asked for. */
  spire(): Promise<SpireSystem> {
    this.#spire ??= this.#startSpire();
    return this.#spire;
  }

  async #startSpire(): Promise<SpireSystem> {
    this.#say('starting SPIRE beside it');
    const system = await SpireSystem.start(this.node, this.directory);
    await system.startAgent('spire', undefined);
    await system.addEntries(this.node.containers);
    this.#spire = Promise.resolve(system);
    await this.#untilServed('spire', this.node.containers.length);
    return system;
  }

  /** First X.509-SVIDs for the containers. Fails where not all came. */
  async round(api: Api, options: RoundOptions): Promise<Round> {
    const round = await this.tryRound(api, options);
    if (round.got !== options.count)
      throw new Error(`${round.got} of ${options.count} X.509-SVIDs came from ${api}: ${JSON.stringify(round.errors)}`);
    return round;
  }

  async tryRound(api: Api, { count, client, turns, skip = 0, timeoutSeconds = 60 }: RoundOptions): Promise<Round> {
    const doors = join(this.directory, `doors-${skip}`);
    await writeFile(
      doors,
      this.node.containers
        .slice(skip)
        .map(({ relayPath }) => relayPath)
        .join('\n'),
    );
    const flags = [
      '-socket',
      SOCKETS[api],
      '-doors',
      doors,
      '-n',
      String(count),
      '-timeout',
      `${timeoutSeconds}s`,
      '-samples',
    ];
    if (client === 'light') flags.push('-light');
    if (turns === true) flags.push('-turns');
    const programs = await this.#programsOf(api);
    const before = await Promise.all([cpuOf(programs.agents), cpuOf(programs.servers)]);
    const quotes = this.node.proxy.quotes;
    const text = await outputOf(spawn(this.firstsvid, flags, { stdio: ['ignore', 'pipe', 'pipe'] }));
    const after = await Promise.all([cpuOf(programs.agents), cpuOf(programs.servers)]);
    const { got, errors, ms, samples = [], wallMs } = JSON.parse(text) as Round;
    const [agentCpuMs, serverCpuMs] = [after[0] - before[0], after[1] - before[1]];
    return { got, errors, ms, samples, wallMs, quotes: this.node.proxy.quotes - quotes, agentCpuMs, serverCpuMs };
  }

  /** Streams of the first `count` containers, kept until it is ended. */
  async hold(count: number, skip = 0): Promise<HeldStreams> {
    const doors = join(this.directory, `doors-${skip}`);
    await writeFile(
      doors,
      this.node.containers
        .slice(skip)
        .map(({ relayPath }) => relayPath)
        .join('\n'),
    );
    const flags = ['-socket', SOCKETS.lacre, '-doors', doors, '-n', String(count), '-light', '-hold'];
    const held = new HeldStreams(spawn(this.firstsvid, flags, { stdio: ['pipe', 'pipe', 'inherit'] }), count);
    await held.open();
    return held;
  }

  /** Turns the switches of one of the bed's programs. */
  async turn(what: 'server' | 'agent' | 'plugin', switches: Omit<Switches, 'order'>): Promise<SwitchesDone> {
    const { pid, switches: file } = await this.#program(what);
    this.#order += 1;
    await rm(`${file}.done`, { force: true });
    await writeFile(file, JSON.stringify({ order: this.#order, ...switches }));
    process.kill(pid, 'SIGUSR2');
    for (let tries = 0; tries < 1000; tries++) {
      const text = await readFileOrNothing(`${file}.done`);
      if (text !== '') return JSON.parse(text) as SwitchesDone;
      await delay(10);
    }
    throw new Error(`the ${what} did not answer SIGUSR2`);
  }

  async untilAgentLogs(text: string, timeoutMs = 30_000): Promise<void> {
    const { log } = this.node.programs;
    const from = this.#seenLog;
    const deadline = performance.now() + timeoutMs;
    while (!log.slice(from).some((line) => line.includes(text))) {
      if (performance.now() > deadline)
        throw new Error(`the agent did not log ${JSON.stringify(text)}:\n${log.join('')}`);
      await delay(20);
    }
    this.#seenLog = log.length;
  }
  #seenLog = 0;

  /** The last container gets its identity: everything before it is known to agent and server. */
  async #untilServed(api: Api, count: number): Promise<void> {
    for (let tries = 1; ; tries += 1) {
      const { got, errors } = await this.tryRound(api, { count: 1, client: 'light', skip: count - 1 });
      if (got === 1) return;
      if (tries === 60) throw new Error(`container ${count} gets no identity from ${api}: ${JSON.stringify(errors)}`);
      await delay(500);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await (await this.#spire?.catch(() => undefined))?.[Symbol.asyncDispose]();
    this.admin[Symbol.dispose]();
    await this.node[Symbol.asyncDispose]();
    await rm(this.directory, { recursive: true, force: true });
  }

  async #program(what: 'server' | 'agent' | 'plugin'): Promise<Program> {
    const { serverPid = 0, agentPid = 0 } = this.node.programs;
    const switches = switchesOf(this.directory, what);
    if (what === 'plugin') return { pid: await (await this.spire()).pluginPid('spire-lacre'), switches };
    return { pid: what === 'server' ? serverPid : agentPid, switches };
  }

  async #programsOf(api: Api): Promise<{ readonly agents: readonly number[]; readonly servers: readonly number[] }> {
    const { serverPid = 0, agentPid = 0 } = this.node.programs;
    if (api === 'lacre') return { agents: [agentPid], servers: [serverPid] };
    const spire = await this.spire();
    const agents = await spire.agentPids(api);
    return { agents, servers: api === 'spire' ? [spire.serverPid] : [spire.serverPid, serverPid] };
  }
}

/** Streams that are held open by one client. */
export class HeldStreams {
  readonly #client: ChildProcess;
  readonly #count: number;
  readonly #ends = new Map<number, { readonly unixMs: number; readonly why: string }>();
  #svids = 0;
  #rest = '';

  constructor(client: ChildProcess, count: number) {
    this.#client = client;
    this.#count = count;
    client.stdout?.setEncoding('utf8').on('data', (text: string) => this.#read(text));
  }

  /** Resolves when every stream has its first SVID. */
  async open(timeoutMs = 60_000): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (this.#svids < this.#count) {
      const [end] = this.#ends.values();
      if (end !== undefined) throw new Error(`a stream ended: ${end.why}`);
      if (performance.now() > deadline) throw new Error(`${this.#svids} of ${this.#count} streams brought an SVID`);
      await delay(5);
    }
  }

  /** When a workload's stream ended, by the clock of this machine; undefined: it stands. */
  endOf(workload: number): { readonly unixMs: number; readonly why: string } | undefined {
    return this.#ends.get(workload);
  }

  get ended(): number {
    return this.#ends.size;
  }

  async close(): Promise<void> {
    const exit = new Promise((resolve) => this.#client.once('exit', resolve));
    this.#client.stdin?.end();
    await exit;
  }

  #read(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      const { workload, kind, unixMs, why = '' } = JSON.parse(line);
      if (kind === 'svid') this.#svids += 1;
      else this.#ends.set(workload, { unixMs, why });
    }
  }
}

/** As shipped; logs go where nobody reads them. */
const SERVER_SETTINGS = '';

/** Path of the file by which a program of the bed is switched. */
export function switchesOf(directory: string, what: string): string {
  return join(directory, `${what}.switches`);
}

export function withSwitches(directory: string, what: string): string[] {
  return ['env', `LACRE_BENCH_SWITCHES=${switchesOf(directory, what)}`];
}

async function cpuOf(pids: readonly number[]): Promise<number> {
  const each = await Promise.all(pids.map((pid) => cpuMs(pid)));
  return each.reduce((sum, ms) => sum + ms, 0);
}

async function readFileOrNothing(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}

/** Status 1 says that some workload got nothing: its reason is in the output. */
function outputOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let [out, said] = ['', ''];
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      out += text;
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    child.once('error', reject);
    child.once('close', (status) => {
      if (status === 0 || (status === 1 && out !== '')) resolve(out);
      else reject(new Error(`firstsvid ended with status ${status}: ${said}`));
    });
  });
}
