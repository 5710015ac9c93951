import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { buildExecutable } from '../scripts/build-executable.ts';
import type { ReferenceFile } from '../src/appraisal/reference/file-table.ts';
import { interopProgram } from '../test/interop/interop-program.ts';
import { NativeAdmin } from '../test/simulator/native-admin.ts';
import { NativeNode } from '../test/simulator/native-node.ts';
import { HeldStreams } from './held-streams.ts';
import { endOnInterrupt } from './interrupt.ts';
import { cpuOfAll } from './process-cpu.ts';
import type { Switches, SwitchesDone } from './program/switches.ts';
import { type Api, FRESH_ENOUGH, outputOf, type Round, type RoundOptions, SOCKETS } from './round.ts';
import { SpireSystem } from './spire-system.ts';

/** How a bed differs from the shared one. */
export interface BedOptions {
  /** The executable as it is shipped: without switches. */
  readonly shipped?: boolean;
  /** Files that belong to the image by name alone. */
  readonly references?: readonly ReferenceFile[];
  /** Lines of the server's configuration; by default as shipped. */
  readonly serverSettings?: string;
  /** Folder for CPU profiles of agent and server, one of each for every period that is watched. */
  readonly profiles?: string | undefined;
}

const WITH_SWITCHES = {
  entry: 'bench/program/lacre.ts',
  output: 'build/bench/lacre',
  work: 'build/bench/executable',
};

/** How late the event loops were, in milliseconds. */
export interface Delays {
  readonly agent: NonNullable<SwitchesDone['delayMs']>;
  readonly server: NonNullable<SwitchesDone['delayMs']>;
}

const UNSEEN = { p50: Number.NaN, p99: Number.NaN, max: Number.NaN };

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
  #settled: () => void = () => undefined;
  readonly #options: BedOptions;
  readonly #say: (text: string) => void;

  private constructor(made: {
    node: NativeNode;
    admin: NativeAdmin;
    firstsvid: string;
    executable: string;
    directory: string;
    say: (text: string) => void;
    options: BedOptions;
  }) {
    this.#options = made.options;
    this.node = made.node;
    this.admin = made.admin;
    this.firstsvid = made.firstsvid;
    this.executable = made.executable;
    this.directory = made.directory;
    this.#say = made.say;
  }

  /** Server and agent run and trust each other; there are no containers yet. */
  static async create(say: (text: string) => void, options: BedOptions = {}): Promise<Bed> {
    const client = interopProgram('firstsvid');
    if ('absent' in client) throw new Error(client.absent);
    const { path: executable } = await buildExecutable(options.shipped === true ? undefined : WITH_SWITCHES);
    const { serverSettings = '' } = options;
    const directory = await mkdtemp(join(tmpdir(), 'lacre-bench-'));
    const node = await NativeNode.create({
      seed: 'bench',
      serverSettings,
      program: 'door.c',
      files: { '/bin/client': client.path },
      commands: {
        server: [...withSwitches(directory, 'server'), executable, 'server', 'run', '--config'],
        agent: [...withSwitches(directory, 'agent'), executable, 'agent', 'run', '--config'],
      },
    });
    await node.startServer();
    const admin = new NativeAdmin(node);
    await admin.approve(options.references);
    await admin.addNode();
    const bed = new Bed({ node, admin, firstsvid: client.path, executable, directory, say, options });
    bed.#settled = endOnInterrupt(() => bed[Symbol.asyncDispose]());
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

  /** Returns once the server trusts the node. */
  async startAgent(timeoutMs?: number): Promise<void> {
    await this.node.startAgent(this.#bundle);
    await this.untilAgentLogs('the server trusts this node', timeoutMs);
  }

  /** Ends the server and starts it with other settings; the agent finds it again by itself. */
  async restartServer(settings?: string): Promise<void> {
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
    await system.startAgent('spire');
    await system.addEntries(this.node.containers);
    this.#spire = Promise.resolve(system);
    await this.#untilServed('spire', this.node.containers.length);
    return system;
  }

  /** A second SPIRE agent, with Lacre's WorkloadAttestor, in place of Lacre's own agent: a node has one session. */
  async startPlugin(): Promise<void> {
    const spire = await this.spire();
    await this.node.stopAgent('SIGTERM');
    await spire.startAgent('spire-lacre', {
      command: [
        '/usr/bin/env',
        ...withSwitches(this.directory, 'plugin').slice(1),
        this.executable,
        'spire',
        'workload-attestor',
      ],
      data: this.#pluginData(),
      selectors: [`image-name:${this.node.image.name}`],
    });
    await spire.addEntries(this.node.containers);
    await this.#untilServed('spire-lacre', this.node.containers.length);
  }

  /** Lacre's own agent again. */
  async stopPlugin(): Promise<void> {
    await (await this.spire()).stopAgent('spire-lacre');
    await this.startAgent();
  }

  #pluginData(): string[] {
    const { directory, programs, proxy, tpm, kernel } = this.node;
    return [
      `server = "127.0.0.1:${programs.port}"`,
      `bundle = "${this.directory}/bundle.pem"`,
      `data_dir = "${this.directory}/plugin-data"`,
      `tpm = "${proxy.address}"`,
      `endorsement_intermediates = "${tpm.issuerPath}"`,
      `measurement_list = "${kernel.listPath}"`,
      `event_log = "${kernel.eventLogPath}"`,
      'require = ["host:open", "config:image", "attribution:exact"]',
      `engine { podman { storage = "${directory}/storage"  run = "${directory}/run" } }`,
    ];
  }

  /** First X.509-SVIDs for the containers. Fails where not all came. */
  async round(api: Api, options: RoundOptions): Promise<Round> {
    const round = await this.tryRound(api, options);
    if (round.got !== options.count)
      throw new Error(`${round.got} of ${options.count} X.509-SVIDs came from ${api}: ${JSON.stringify(round.errors)}`);
    return round;
  }

  async tryRound(
    api: Api,
    { count, client, turns, same, skip = 0, timeoutSeconds = 60 }: RoundOptions,
  ): Promise<Round> {
    const doors = await this.#doors(skip, same === true ? count : undefined);
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
    const before = await Promise.all([cpuOfAll(programs.agents), cpuOfAll(programs.servers)]);
    const quotes = this.node.proxy.quotes;
    const text = await outputOf(spawn(this.firstsvid, flags, { stdio: ['ignore', 'pipe', 'pipe'] }));
    const after = await Promise.all([cpuOfAll(programs.agents), cpuOfAll(programs.servers)]);
    const { got, errors, ms, samples = [], wallMs } = JSON.parse(text) as Round;
    const [agentCpuMs, serverCpuMs] = [after[0] - before[0], after[1] - before[1]];
    return { got, errors, ms, samples, wallMs, quotes: this.node.proxy.quotes - quotes, agentCpuMs, serverCpuMs };
  }

  /** Streams of the first `count` containers, kept until it is ended. */
  async hold(count: number, skip = 0): Promise<HeldStreams> {
    const doors = await this.#doors(skip);
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

  /** From now on the delay of both event loops is watched. Gives what was seen since the last such order. */
  watch(underQuote: boolean): Promise<Delays> {
    return this.#turnBoth({ underQuote, watchDelay: true });
  }

  /** No more. */
  unwatch(): Promise<Delays> {
    return this.#turnBoth({ underQuote: FRESH_ENOUGH, watchDelay: false });
  }

  async #turnBoth(switches: Omit<Switches, 'order'>): Promise<Delays> {
    this.#periods += 1;
    const profileOf = (who: string) =>
      this.#options.profiles === undefined || !switches.watchDelay
        ? {}
        : { profile: join(this.#options.profiles, `${String(this.#periods).padStart(3, '0')}-${who}.cpuprofile`) };
    const { delayMs: agent = UNSEEN } = await this.turn('agent', { ...switches, ...profileOf('agent') });
    const { delayMs: server = UNSEEN } = await this.turn('server', { ...switches, ...profileOf('server') });
    return { agent, server };
  }
  #periods = 0;

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
    this.#settled();
    await (await this.#spire?.catch(() => undefined))?.[Symbol.asyncDispose]();
    this.admin[Symbol.dispose]();
    await this.node[Symbol.asyncDispose]();
    await rm(this.directory, { recursive: true, force: true });
  }

  /** A file with the doors of the containers after `skip`; `repeated`: of the first of them, so many times. */
  async #doors(skip: number, repeated?: number): Promise<string> {
    const path = join(this.directory, 'doors');
    const doors = this.node.containers.slice(skip).map(({ relayPath }) => relayPath);
    const all = repeated === undefined ? doors : Array.from({ length: repeated }, () => doors[0] ?? '');
    await writeFile(path, all.join('\n'));
    return path;
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

/** Path of the file by which a program of the bed is switched. */
export function switchesOf(directory: string, what: string): string {
  return join(directory, `${what}.switches`);
}

export function withSwitches(directory: string, what: string): string[] {
  return ['env', `LACRE_BENCH_SWITCHES=${switchesOf(directory, what)}`];
}

async function readFileOrNothing(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}
