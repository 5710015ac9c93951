import { spawnSync } from 'node:child_process';
import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildNative } from '../../scripts/build-native.ts';
import { TpmClient } from '../../src/agent/tpm-client.ts';
import type { ReferenceFile } from '../../src/appraisal/reference/file-table.ts';
import { sha256 } from '../../src/bytes/sha256.ts';
import { ekSha256Hex } from '../../src/tpm/endorsement.ts';
import { parsePublicArea } from '../../src/tpm/public-area.ts';
import { KernelSimulator } from './kernel-simulator.ts';
import { type EndSignal, NativePrograms, type ProgramCommands } from './native-programs.ts';
import { type EnginePlace, OciContainer, ociRuntime, RANGE_LENGTH, type SimulatedImage } from './oci-container.ts';
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
  /** Source of the image's program; by default relay.c. */
  readonly program?: 'relay.c' | 'door.c';
  /** Further files of the image: path in it → path here. */
  readonly files?: Readonly<Record<string, string>>;
  /** By default from sources. */
  readonly commands?: ProgramCommands;
}

/** Why a native node cannot run here; undefined where it can. */
export function nativeNodeMissing(): string | undefined {
  const isRoot = process.getuid?.() === 0;
  const gcc = spawnSync('gcc', ['--version']).error === undefined;
  const reasons = [
    softwareTpmMissing(),
    isRoot ? undefined : 'making containers needs root',
    spawnSync('unshare', ['-m', '-p', '-f', 'true']).status === 0 ? undefined : 'namespaces cannot be made here',
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
  readonly programs: NativePrograms;
  #kernel: KernelSimulator;
  readonly #host: SimulatedHost;
  readonly #options: NativeNodeOptions;
  #files: Promise<ReferenceFile[]> | undefined;

  private constructor(
    options: NativeNodeOptions,
    made: {
      directory: string;
      image: SimulatedImage;
      tpm: SoftwareTpm;
      proxy: TpmProxy;
      kernel: KernelSimulator;
      host: SimulatedHost;
      programs: NativePrograms;
    },
    ekSha256: string,
  ) {
    this.#options = options;
    this.directory = made.directory;
    this.image = made.image;
    this.tpm = made.tpm;
    this.proxy = made.proxy;
    this.#kernel = made.kernel;
    this.#host = made.host;
    this.programs = made.programs;
    this.ekSha256Hex = ekSha256;
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
    const host = await SimulatedHost.start();
    const programs = await NativePrograms.create(directory, host, options.commands);
    return new NativeNode(options, { directory, image, tpm, proxy, kernel, host, programs }, ekSha256Hex(ek.spki));
  }

  get kernel(): KernelSimulator {
    return this.#kernel;
  }

  get #place(): EnginePlace {
    return { storage: join(this.directory, 'storage'), run: join(this.directory, 'run') };
  }

  get spiffeId(): string {
    return `spiffe://${TRUST_DOMAIN}/spire/agent/lacre_tpm/${this.ekSha256Hex.slice(0, 32)}`;
  }

  /** 32 bytes that depend on the seed and `label` alone. */
  digest(label: string): Uint8Array {
    return seededDigest(this.#options, label);
  }

  /** A container of the image comes up; the kernel measures the image's files unless `measured` is false. */
  async addContainer(name: string, measured = true): Promise<OciContainer> {
    const uidBase = POOL_BASE + RANGE_LENGTH * this.containers.length;
    const directory = join(this.directory, 'containers', name);
    const place = this.#place;
    const agentFolder = join(this.directory, 'agent');
    const options = { name, host: this.#host, place, image: this.image, uidBase, agentFolder, directory };
    for (const file of measured ? await this.files() : []) await this.#kernel.measureContainer(file, { uid: uidBase });
    const container = await OciContainer.start(options);
    this.containers.push(container);
    return container;
  }

  /** The image's program. */
  program(): Promise<ReferenceFile> {
    return this.#file('/bin/app');
  }

  /** All files of the image. */
  files(): Promise<ReferenceFile[]> {
    this.#files ??= Promise.all(
      ['/bin/app', ...Object.keys(this.#options.files ?? {})].map((path) => this.#file(path)),
    );
    return this.#files;
  }

  async #file(path: string): Promise<ReferenceFile> {
    return { path, sha256: sha256(new Uint8Array(await readFile(join(this.image.root, path)))), mode: 0o755 };
  }

  /** @param settings further lines of its configuration, instead of those that the node was made with */
  startServer(settings = this.#options.serverSettings ?? ''): Promise<void> {
    return this.programs.startServer([
      `trust_domain: ${TRUST_DOMAIN}`,
      `listen: 127.0.0.1:${this.programs.port}`,
      `data_dir: ${join(this.directory, 'server')}`,
      `admin: { socket: ${this.programs.adminSocket} }`,
      `verifier: { socket: ${this.programs.verifierSocket} }`,
      `endorsement: { roots: [{ path: ${this.tpm.rootPath}, tier: software }] }`,
      settings,
    ]);
  }

  /** @param bundlePem certificates that the agent believes the server by */
  async startAgent(bundlePem: string): Promise<void> {
    const bundle = join(this.directory, 'bundle.pem');
    await writeFile(bundle, bundlePem);
    await this.programs.startAgent([
      `trust_domain: ${TRUST_DOMAIN}`,
      `server: 127.0.0.1:${this.programs.port}`,
      `bundle: ${bundle}`,
      `data_dir: ${join(this.directory, 'agent-data')}`,
      `workload_socket: ${this.programs.workloadSocket}`,
      `tpm: ${this.proxy.address}`,
      `endorsement_intermediates: ${this.tpm.issuerPath}`,
      `measurement_list: ${this.#kernel.listPath}`,
      `event_log: ${this.#kernel.eventLogPath}`,
      `engine: { podman: { storage: ${this.#place.storage}, run: ${this.#place.run} } }`,
    ]);
  }

  /** A process of the host that is in no container; `relayPath` leads out of it to the Workload API. */
  async startHostProcess(): Promise<{ readonly relayPath: string; readonly pid: number }> {
    const relayPath = join(this.directory, 'host-relay.sock');
    const { ended, pid } = await this.#host.spawn(this.image.program, [relayPath, this.programs.workloadSocket]);
    await this.programs.appears(relayPath, ended);
    return { relayPath, pid };
  }

  /** What nsenter is told to come into the node's namespaces. */
  get into(): readonly string[] {
    return this.#host.into;
  }

  /** Any program, as a process of the host. */
  spawnOnHost(command: string, args: readonly string[]): Promise<HostProcess> {
    return this.#host.spawn(command, args);
  }

  /** kill -9, or an orderly end. */
  stopServer(signal: EndSignal = 'SIGKILL'): Promise<void> {
    return this.programs.stopServer(signal);
  }

  stopAgent(signal: EndSignal = 'SIGKILL'): Promise<void> {
    return this.programs.stopAgent(signal);
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
  const root = join(directory, 'image');
  for (const folder of ['bin', 'dev', 'proc', 'run/relay', 'run/lacre'])
    await mkdir(join(root, folder), { recursive: true });
  const program = join(root, 'bin/app');
  const source = fileURLToPath(new URL(options.program ?? 'relay.c', import.meta.url));
  const { status, stderr } = spawnSync('gcc', ['-O1', '-static', '-o', program, source], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`gcc could not compile ${source}: ${stderr}`);
  for (const [path, from] of Object.entries(options.files ?? {})) await copyFile(from, join(root, path));
  const digest = (label: string) => `sha256:${Buffer.from(seededDigest(options, label)).toString('hex')}`;
  return {
    name: 'registry.test/app:1',
    manifestDigest: digest('manifest'),
    configDigest: digest('config'),
    program,
    root,
  };
}
