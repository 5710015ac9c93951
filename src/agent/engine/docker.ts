import { join } from 'node:path';
import { countOf, listOf, objectOf, parseJson, parseJsonObject, textOf, textsOf } from '../../container/json-value.ts';
import { labelsOf } from '../podman-files.ts';
import { configAt } from '../podman-rest.ts';
import { type ContainerSource, type EngineContainer, engineFault } from '../podman-source.ts';
import { UnixHttp } from './unix-http.ts';

/** Docker's socket and folders. */
export interface DockerPlace {
  readonly socket: string;
  /** Its data root. */
  readonly data: string;
  /** Folders in which its containerd keeps what each container was started with: the first that has it counts. */
  readonly bundles: readonly string[];
}

/** Docker 20.10 and later. */
const API = '/v1.41';
const MAX_CONTAINERS = 4096;
const TIMEOUT_MS = 4000;
const ID = /^[0-9a-f]{64}$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;

/** What is kept of a container while its first process is the same. */
interface Inspected {
  readonly startedAt: string;
  readonly container: EngineContainer;
}

/**
 * Docker by its HTTP API. The runtime's configuration, which the API does not show, is read from containerd's bundle. The
 * manifest's digest is told only by an engine with containerd's image store: what others call a digest may be that of an
 * index. The server then goes by the digest of the image's configuration, which is Docker's image id.
 */
export class DockerEngine implements ContainerSource {
  readonly name: string;
  readonly #place: DockerPlace;
  readonly #api: UnixHttp;
  readonly #inspected = new Map<string, Inspected>();
  readonly #environments = new Map<string, readonly string[]>();

  constructor(place: DockerPlace, timeoutMs = TIMEOUT_MS) {
    this.name = `docker's socket ${place.socket}`;
    this.#place = place;
    this.#api = new UnixHttp(place.socket, 'docker', API, timeoutMs);
  }

  /** Throws agent.engine.unavailable. */
  async list(): Promise<EngineContainer[]> {
    try {
      const listed = listOf('containers', parseJson('containers', await this.#api.get('/containers/json')));
      if (listed.length > MAX_CONTAINERS) throw new Error(`${listed.length} containers are over ${MAX_CONTAINERS}`);
      const ids = listed.map((value) => textOf('Id', objectOf('a container', value)['Id'])).filter((id) => ID.test(id));
      const present = new Set(ids);
      for (const id of this.#inspected.keys()) if (!present.has(id)) this.#inspected.delete(id);
      const containers: EngineContainer[] = [];
      for (const id of ids) {
        const container = await this.#container(id);
        if (container !== undefined) containers.push(container);
      }
      return containers;
    } catch (error) {
      throw engineFault(this.name, error);
    }
  }

  /** Docker's list tells no pid: a container that was started again is told by the time of its start. */
  async #container(id: string): Promise<EngineContainer | undefined> {
    const text = await this.#api.find(`/containers/${id}/json`);
    if (text === undefined) return undefined;
    const inspect = parseJsonObject('a container', text);
    const state = objectOf('State', inspect['State']);
    const initPid = countOf('State.Pid', state['Pid']);
    const startedAt = `${initPid} ${textOf('State.StartedAt', state['StartedAt'])}`;
    const known = this.#inspected.get(id);
    if (known?.startedAt === startedAt) return known.container;
    const config = initPid === 0 ? undefined : await this.#config(id);
    if (config === undefined) return undefined;
    const settings = objectOf('Config', inspect['Config'] ?? {});
    const privileged = objectOf('HostConfig', inspect['HostConfig'] ?? {})['Privileged'] === true;
    const image = textOf('Image', inspect['Image']);
    const descriptor = objectOf('ImageManifestDescriptor', inspect['ImageManifestDescriptor'] ?? {});
    const manifestDigest = textOf('digest', descriptor['digest']);
    const container: EngineContainer = {
      id,
      engine: 'docker',
      ground: this.#ground(id),
      name: textOf('Name', inspect['Name']).replace(/^\//, ''),
      sandboxId: '',
      initPid,
      imageName: textOf('Config.Image', settings['Image']),
      manifestDigest: DIGEST.test(manifestDigest) ? manifestDigest : '',
      // With containerd's image store the image's id is no digest of its configuration.
      configDigest: manifestDigest === '' && DIGEST.test(image) ? image : '',
      imageEnvironment: await this.#environment(image),
      labels: labelsOf(settings['Labels']),
      config: { ...config, privileged: config.privileged || privileged },
    };
    this.#inspected.set(id, { startedAt, container });
    return container;
  }

  async #config(id: string): Promise<Awaited<ReturnType<typeof configAt>>> {
    for (const folder of this.#place.bundles) {
      const config = await configAt(join(folder, id, 'config.json'));
      if (config !== undefined) return config;
    }
    return undefined;
  }

  #ground(id: string): EngineContainer['ground'] {
    const { data, bundles, socket } = this.#place;
    return {
      own: [join(data, 'containers', id)],
      state: [data, ...bundles],
      volumes: [join(data, 'volumes')],
      sockets: [socket],
    };
  }

  async #environment(image: string): Promise<readonly string[]> {
    const known = this.#environments.get(image);
    if (known !== undefined || !DIGEST.test(image)) return known ?? [];
    const text = await this.#api.find(`/images/${image}/json`);
    if (text === undefined) return [];
    const config = objectOf('Config', parseJsonObject('an image', text)['Config'] ?? {});
    const environment = textsOf('Env', config['Env']);
    if (this.#environments.size >= MAX_CONTAINERS) this.#environments.clear();
    this.#environments.set(image, environment);
    return environment;
  }
}
