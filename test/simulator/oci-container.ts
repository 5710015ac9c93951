import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chown, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ociConfig } from './oci-config.ts';
import type { SimulatedHost } from './simulated-host.ts';

const RUNTIMES = ['runc', 'crun'];

/** Where podman would keep its things; the agent reads them there. */
export interface EnginePlace {
  /** Graph root. */
  readonly storage: string;
  /** Run root. */
  readonly run: string;
}

/** An image: one program, and what may lie beside it. */
export interface SimulatedImage {
  readonly name: string;
  /** sha256:… */
  readonly manifestDigest: string;
  /** sha256:… */
  readonly configDigest: string;
  /** Its /bin/app, statically linked. */
  readonly program: string;
  /** Its root: what every container of it has as lower folder. */
  readonly root: string;
}

/** Options of OciContainer.start. */
export interface ContainerOptions {
  readonly name: string;
  readonly host: SimulatedHost;
  readonly place: EnginePlace;
  readonly image: SimulatedImage;
  /** First of 1,024 uids. */
  readonly uidBase: number;
  /** Folder of the agent's socket, which is `workload.sock`. */
  readonly agentFolder: string;
  /** Folder for all that is the container's own. */
  readonly directory: string;
}

/** The OCI runtime on this machine; undefined: there is none. */
export function ociRuntime(): string | undefined {
  return RUNTIMES.find((program) => spawnSync(program, ['--version']).error === undefined);
}

/** Containers made so far: no id occurs twice. */
let started = 0;

/** Length of each container's uid range. */
export const RANGE_LENGTH = 1024;

/**
 * A real container by a real OCI runtime: namespaces, uid range, cgroup, seccomp filter, overlay root. Only the engine
 * above is played: its files are written as podman (4.3, overlay, cgroupfs) writes them.
 */
export class OciContainer {
  readonly id: string;
  readonly name: string;
  readonly uidBase: number;
  /** As the simulated host numbers its processes. */
  readonly pid: number;
  /** Connections to it come out of the container, each as a process of its own that connects to the agent. */
  readonly relayPath: string;
  readonly #options: ContainerOptions;

  private constructor(options: ContainerOptions, id: string, pid: number) {
    this.#options = options;
    this.id = id;
    this.name = options.name;
    this.uidBase = options.uidBase;
    this.pid = pid;
    this.relayPath = join(options.directory, 'relay/relay.sock');
  }

  static async start(options: ContainerOptions): Promise<OciContainer> {
    const { directory, place } = options;
    started += 1;
    const id = createHash('sha256').update(`${options.name} ${started} ${directory}`).digest('hex');
    await rm(directory, { recursive: true, force: true });
    const userdata = join(place.storage, 'overlay-containers', id, 'userdata');
    const runUserdata = join(place.run, 'overlay-containers', id, 'userdata');
    const own = ['merged', 'upper', 'relay', 'agent'].map((folder) => join(directory, folder));
    for (const folder of [...own, userdata, runUserdata]) await mkdir(folder, { recursive: true });
    await chown(join(directory, 'relay'), options.uidBase, options.uidBase);
    const config = JSON.stringify(ociConfig(id, directory, options.uidBase, RANGE_LENGTH));
    await writeFile(join(userdata, 'config.json'), config);
    await writeFile(join(directory, 'config.json'), config);
    const pidFile = join(runUserdata, 'pidfile');
    await options.host.script(startScript(options, id, join(directory, 'pid'))).catch(async (cause) => {
      const said = await readFile(join(directory, 'log'), 'utf8').catch(() => '');
      throw new Error(`container ${options.name} did not start: ${said}`, { cause });
    });
    const pid = await readFile(join(directory, 'pid'), 'utf8');
    await enterContainer(place, options, id);
    await writeFile(pidFile, pid);
    const container = new OciContainer(options, id, Number(pid));
    await container.#ready();
    return container;
  }

  /** Ends the container and everything of it. */
  async stop(): Promise<void> {
    const { place, directory, host } = this.#options;
    await rm(join(place.run, 'overlay-containers', this.id), { recursive: true, force: true });
    await host.script(`${runtimeCommand(directory)} delete -f ${this.id}`).catch(() => undefined);
    await leaveContainer(place, this.id);
  }

  async #ready(): Promise<void> {
    for (let tries = 0; tries < 300; tries++) {
      const isThere = await stat(this.relayPath).catch(() => undefined);
      if (isThere !== undefined) return;
      await delay(10);
    }
    throw new Error(`container ${this.name} opened no socket within 3 s`);
  }
}

function runtimeCommand(directory: string): string {
  const runtime = ociRuntime() ?? 'runc';
  const manager = runtime === 'crun' ? ' --cgroup-manager=cgroupfs' : '';
  return `${runtime}${manager} --root ${join(directory, 'runtime')}`;
}

/** The root is kernel overlay, as podman makes it; bind mounts are noexec before the runtime takes them (crun 1.8). */
function startScript({ directory, agentFolder, image }: ContainerOptions, id: string, pidFile: string): string {
  return [
    `cd ${directory}`,
    'mount -t tmpfs tmpfs upper',
    'mkdir upper/upper upper/work',
    `mount -t overlay overlay -o lowerdir=${image.root},upperdir=upper/upper,workdir=upper/work merged`,
    'mount --bind relay relay',
    'mount -o remount,bind,noexec,nosuid,nodev relay',
    `mount --bind ${agentFolder} agent`,
    'mount -o remount,bind,ro,noexec,nosuid,nodev agent',
    `exec ${runtimeCommand(directory)} run -d --bundle . --pid-file ${pidFile} ${id} > log 2>&1 < /dev/null`,
  ].join('\n');
}

interface StoredContainer {
  readonly id: string;
}

async function enterContainer(place: EnginePlace, { name, image }: ContainerOptions, id: string): Promise<void> {
  const imageId = image.configDigest.slice('sha256:'.length);
  const metadata = JSON.stringify({ 'image-name': image.name, 'image-id': imageId, name });
  const entry = { id, names: [name], image: imageId, metadata };
  const others = (await readStored(place)).filter((container) => container.id !== id);
  await writeStored(place, [...others, entry]);
  const images = join(place.storage, 'overlay-images');
  await mkdir(join(images, imageId), { recursive: true });
  await writeFile(join(images, 'images.json'), JSON.stringify([{ id: imageId, digest: image.manifestDigest }]));
  const blob = `=${Buffer.from(image.configDigest).toString('base64')}`;
  await writeFile(
    join(images, imageId, blob),
    JSON.stringify({ config: { Env: ['PATH=/bin'], Labels: { tier: 'a:b' } } }),
  );
}

async function leaveContainer(place: EnginePlace, id: string): Promise<void> {
  await writeStored(
    place,
    (await readStored(place)).filter((container) => container.id !== id),
  );
}

function storedPath(place: EnginePlace): string {
  return join(place.storage, 'overlay-containers/containers.json');
}

async function readStored(place: EnginePlace): Promise<StoredContainer[]> {
  return JSON.parse(await readFile(storedPath(place), 'utf8').catch(() => '[]'));
}

async function writeStored(place: EnginePlace, containers: readonly StoredContainer[]): Promise<void> {
  await writeFile(storedPath(place), JSON.stringify(containers));
}
