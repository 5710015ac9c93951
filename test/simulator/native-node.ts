import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { buildNative } from '../../scripts/build-native.ts';
import { TpmClient } from '../../src/agent/tpm-client.ts';
import { sha256 } from '../../src/bytes/sha256.ts';
import { ekSha256Hex } from '../../src/tpm/endorsement.ts';
import { parsePublicArea } from '../../src/tpm/public-area.ts';
import { KernelSimulator } from './kernel-simulator.ts';
import { OciContainer, ociRuntime, RANGE_LENGTH, type SimulatedImage } from './oci-container.ts';
import { type HostProcess, SimulatedHost } from './simulated-host.ts';
import { SoftwareTpm, softwareTpmMissing } from './software-tpm.ts';
import { TpmProxy } from './tpm-proxy.ts';

export const TRUST_DOMAIN = 'lacre.test';
export const POOL_BASE = 200_000;

/** Options of NativeNode.create. */
export interface NativeNodeOptions {
  /** Another seed, other digests of everything that isn't real. */
  readonly seed: string;
  /** What a TPM2_Quote takes at least, in milliseconds. */
  readonly quoteMs?: number;
  /** Further lines of the server's configuration. */
  readonly serverSettings?: string;
}

/** Why a native node cannot run here; undefined where it can. */
export function nativeNodeMissing(): string | undefined {
  const isRoot = process.getuid?.() === 0;
  const gcc = spawnSync('gcc', ['--version']).error === undefined;
  const reasons = [
    softwareTpmMissing(),
    isRoot ? undefined : 'making containers needs root',
    ociRuntime() === undefined ? 'neither runc nor crun is installed' : undefined,
    gcc ? undefined : 'gcc is not installed',
  ];
  const all = reasons.filter((reason) => reason !== undefined);
  return all.length === 0 ? undefined : all.join('; ');
}

/**
 * A node on this machine: real server and agent as processes of their own over real TLS, a real software TPM, real
 * containers by an OCI runtime. Played: firmware and kernel that measure, podman above the runtime.
 */
export class NativeNode {
  readonly directory: string;
  readonly image: SimulatedImage;
  readonly tpm: SoftwareTpm;
  readonly proxy: TpmProxy;
  readonly containers: OciContainer[] = [];
  readonly ekSha256Hex: string;
  /** What server and agent wrote to stderr, for a failed test to show. */
  readonly log: string[] = [];
  #kernel: KernelSimulator;
  #server: ChildProcess | undefined;
  #agent: HostProcess | undefined;
  readonly #host: SimulatedHost;
  readonly #options: NativeNodeOptions;
  readonly #port: number;

  private constructor(
    options: NativeNodeOptions,
    made: {
      directory: string;
      image: SimulatedImage;
      tpm: SoftwareTpm;
      proxy: TpmProxy;
      kernel: KernelSimulator;
      host: SimulatedHost;
    },
    ekSha256: string,
    port: number,
  ) {
    this.#options = options;
    this.directory = made.directory;
    this.image = made.image;
    this.tpm = made.tpm;
    this.proxy = made.proxy;
    this.#kernel = made.kernel;
    this.#host = made.host;
    this.ekSha256Hex = ekSha256;
    this.#port = port;
  }

  /** Makes TPM, boot and image; neither server nor agent runs yet. */
  static async create(options: NativeNodeOptions): Promise<NativeNode> {
    buildNative();
    const directory = await mkdtemp(join(tmpdir(), 'lacre-native-'));
    await chmod(directory, 0o755); // the containers' roots are mounted from below it
    await mkdir(join(directory, 'agent'));
    await mkdir(join(directory, 'storage'));
    const tpm = await SoftwareTpm.create({ directory: join(directory, 'tpm') });
    await tpm.start();
    const { quoteMs = 0 } = options;
    const proxy = await TpmProxy.start({ upstream: tpm.address, path: join(directory, 'proxy.sock'), quoteMs });
    const kernel = await bootKernel(options, directory, proxy);
    const image = await buildImage(options, directory);
    const client = await TpmClient.open(proxy.address);
    const ek = parsePublicArea((await client.createEndorsementKey()).public);
    await client.close();
    const made = { directory, image, tpm, proxy, kernel, host: await SimulatedHost.start() };
    return new NativeNode(options, made, ekSha256Hex(ek.spki), await freePort());
  }

  get kernel(): KernelSimulator {
    return this.#kernel;
  }

  get adminSocket(): string {
    return join(this.directory, 'admin.sock');
  }

  get workloadSocket(): string {
    return join(this.directory, 'agent/workload.sock');
  }

  get spiffeId(): string {
    return `spiffe://${TRUST_DOMAIN}/spire/agent/lacre_tpm/${this.ekSha256Hex.slice(0, 32)}`;
  }

  get agentPid(): number | undefined {
    return this.#agent?.pid;
  }

  get serverPid(): number | undefined {
    return this.#server?.pid;
  }

  /** 32 bytes that depend on the seed and `label` alone. */
  digest(label: string): Uint8Array {
    return seededDigest(this.#options, label);
  }

  /** A container of the image comes up; the kernel measures its program unless `measured` is false. */
  async addContainer(name: string, measured = true): Promise<OciContainer> {
    const uidBase = POOL_BASE + RANGE_LENGTH * this.containers.length;
    const directory = join(this.directory, 'containers', name);
    const place = { storage: join(this.directory, 'storage'), run: join(this.directory, 'run') };
    const agentFolder = join(this.directory, 'agent');
    const options = { name, host: this.#host, place, image: this.image, uidBase, agentFolder, directory };
    if (measured) await this.#kernel.measureContainer(await this.program(), { uid: uidBase });
    const container = await OciContainer.start(options);
    this.containers.push(container);
    return container;
  }

  /** The image's one file. */
  async program(): Promise<{ path: string; sha256: Uint8Array }> {
    return { path: '/bin/app', sha256: sha256(new Uint8Array(await readFile(this.image.program))) };
  }

  async startServer(): Promise<void> {
    const config = join(this.directory, 'server.yaml');
    const lines = [
      `trust_domain: ${TRUST_DOMAIN}`,
      `listen: 127.0.0.1:${this.#port}`,
      `data_dir: ${join(this.directory, 'server')}`,
      `admin: { socket: ${this.adminSocket} }`,
      `endorsement: { roots: [{ path: ${this.tpm.rootPath}, tier: software }] }`,
      this.#options.serverSettings ?? '',
    ];
    await writeFile(config, lines.join('\n'));
    await rm(this.adminSocket, { force: true });
    const stdio = ['ignore', 'ignore', 'pipe'] as const;
    const server = spawn(process.execPath, [main('run-server.ts'), config], { stdio: [...stdio] });
    this.#server = server;
    this.#keepLog('server', server.stderr);
    await this.#appears(this.adminSocket, once(server, 'exit'));
  }

  /** @param bundlePem certificates that the agent believes the server by */
  async startAgent(bundlePem: string): Promise<void> {
    const config = join(this.directory, 'agent.yaml');
    const bundle = join(this.directory, 'bundle.pem');
    await writeFile(bundle, bundlePem);
    const lines = [
      `trust_domain: ${TRUST_DOMAIN}`,
      `server: 127.0.0.1:${this.#port}`,
      `bundle: ${bundle}`,
      `data_dir: ${join(this.directory, 'agent-data')}`,
      `workload_socket: ${this.workloadSocket}`,
      `tpm: ${this.proxy.address}`,
      `endorsement_intermediates: ${this.tpm.issuerPath}`,
      `measurement_list: ${this.#kernel.listPath}`,
      `event_log: ${this.#kernel.eventLogPath}`,
      `engine: { podman: { storage: ${join(this.directory, 'storage')}, run: ${join(this.directory, 'run')} } }`,
    ];
    await writeFile(config, lines.join('\n'));
    await rm(this.workloadSocket, { force: true });
    const agent = await this.#host.spawn(process.execPath, [main('run-agent.ts'), config]);
    this.#agent = agent;
    this.#keepLog('agent', agent.stderr);
    await this.#appears(this.workloadSocket, agent.ended);
  }

  /** A process of the host that is in no container; `relayPath` leads out of it to the Workload API. */
  async startHostProcess(): Promise<{ readonly relayPath: string }> {
    const relayPath = join(this.directory, 'host-relay.sock');
    const { ended } = await this.#host.spawn(this.image.program, [relayPath, this.workloadSocket]);
    await this.#appears(relayPath, ended);
    return { relayPath };
  }

  /** kill -9, or an orderly end. */
  async stopServer(signal: 'SIGKILL' | 'SIGTERM' = 'SIGKILL'): Promise<void> {
    await end(this.#server, signal);
    this.#server = undefined;
  }

  async stopAgent(signal: 'SIGKILL' | 'SIGTERM' = 'SIGKILL'): Promise<void> {
    const agent = this.#agent;
    this.#agent = undefined;
    if (agent === undefined) return;
    process.kill(agent.pid, signal);
    await agent.ended;
  }

  /** Power off and on: PCRs and list begin anew; containers are gone. */
  async reboot(): Promise<void> {
    await this.#stopContainers();
    await this.#kernel.close();
    await this.proxy.disconnect();
    await this.tpm.restart();
    this.#kernel = await bootKernel(this.#options, this.directory, this.proxy);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopAgent();
    await this.stopServer();
    await this.#stopContainers();
    await this.#host.stop();
    await this.#kernel.close();
    await this.proxy.close();
    await this.tpm[Symbol.asyncDispose]();
    await rm(this.directory, { recursive: true, force: true });
  }

  async #stopContainers(): Promise<void> {
    for (const container of this.containers.splice(0)) await container.stop();
  }

  #keepLog(who: string, stderr: NodeJS.ReadableStream): void {
    stderr.setEncoding('utf8').on('data', (text: string) => this.log.push(`${who}: ${text}`));
  }

  async #appears(path: string, ended: Promise<unknown>): Promise<void> {
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
}

function seededDigest({ seed }: NativeNodeOptions, label: string): Uint8Array {
  return sha256(new Uint8Array(Buffer.from(`${seed} ${label}`)));
}

async function bootKernel(options: NativeNodeOptions, directory: string, proxy: TpmProxy): Promise<KernelSimulator> {
  const system = {
    kernelSha256: seededDigest(options, 'kernel'),
    initrdSha256: seededDigest(options, 'initrd'),
    commandLine: 'root=/dev/vda ro lockdown=integrity sysctl.kernel.kexec_load_disabled=1',
    firmware: `OVMF ${options.seed}`,
  };
  const kernel = await KernelSimulator.boot({ tpm: proxy.address, directory, system });
  for (const path of HOST_PATHS) await kernel.measureHost({ path, sha256: seededDigest(options, path) });
  return kernel;
}

/** What the played host executes, in this order. */
export const HOST_PATHS: readonly string[] = ['/init', '/sbin/init', '/usr/bin/podman', '/usr/bin/crun'];

async function buildImage(options: NativeNodeOptions, directory: string): Promise<SimulatedImage> {
  const program = join(directory, 'app');
  const source = fileURLToPath(new URL('relay.c', import.meta.url));
  const { status, stderr } = spawnSync('gcc', ['-O1', '-static', '-o', program, source], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`gcc could not compile relay.c: ${stderr}`);
  const digest = (label: string) => `sha256:${Buffer.from(seededDigest(options, label)).toString('hex')}`;
  return { name: 'registry.test/app:1', manifestDigest: digest('manifest'), configDigest: digest('config'), program };
}

function main(file: string): string {
  return fileURLToPath(new URL(file, import.meta.url));
}

async function end(child: ChildProcess | undefined, signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  await ended;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  await new Promise((resolve) => {
    server.close(resolve);
  });
  if (address === null || typeof address === 'string') throw new Error('no free port');
  return address.port;
}
