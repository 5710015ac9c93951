import { countOf, listOf, objectOf, parseJson, parseJsonObject, textOf, textsOf } from '../container/json-value.ts';
import { UnixHttp } from './engine/unix-http.ts';
import { type OciConfig, parseOciConfig } from './podman-config.ts';
import { labelsOf } from './podman-files.ts';
import {
  type ContainerSource,
  type EngineContainer,
  engineFault,
  type PodmanPlace,
  podmanGround,
} from './podman-source.ts';
import { isMissing, readBounded } from './proc.ts';

const API = '/v4.0.0/libpod';
const MAX_CONFIG_BYTES = 4 * 1024 * 1024;
const MAX_CONTAINERS = 4096;
const TIMEOUT_MS = 5000;
const ID = /^[0-9a-f]{64}$/;

/** What of a container doesn't change while one first process of it lives. */
interface Inspected {
  readonly initPid: number;
  readonly container: EngineContainer;
}

/**
 * podman by its REST socket (libpod API 4.0 and later): tells the labels and pods of containers. The runtime's
 * configuration is read from the file that podman names, as the API doesn't show it.
 */
export class PodmanRest implements ContainerSource {
  readonly name: string;
  readonly #place: PodmanPlace;
  readonly #api: UnixHttp;
  readonly #inspected = new Map<string, Inspected>();
  readonly #imageEnvironments = new Map<string, readonly string[]>();

  constructor(place: PodmanPlace & { readonly socket: string }, timeoutMs = TIMEOUT_MS) {
    this.name = `podman's socket ${place.socket}`;
    this.#place = place;
    this.#api = new UnixHttp(place.socket, 'podman', API, timeoutMs);
  }

  /** Throws agent.engine.unavailable. */
  async list(): Promise<EngineContainer[]> {
    try {
      const listed = listOf('containers', parseJson('containers', await this.#api.get('/containers/json')));
      if (listed.length > MAX_CONTAINERS) throw new Error(`${listed.length} containers are over ${MAX_CONTAINERS}`);
      const running = listed.map((value) => {
        const container = objectOf('a container', value);
        return { id: textOf('Id', container['Id']), initPid: countOf('Pid', container['Pid']) };
      });
      const present = new Set(running.map(({ id }) => id));
      for (const id of this.#inspected.keys()) if (!present.has(id)) this.#inspected.delete(id);
      const containers: EngineContainer[] = [];
      for (const { id, initPid } of running.filter((one) => ID.test(one.id) && one.initPid > 0)) {
        const container = await this.#container(id, initPid);
        if (container !== undefined) containers.push(container);
      }
      return containers;
    } catch (error) {
      throw engineFault(this.name, error);
    }
  }

  async #container(id: string, initPid: number): Promise<EngineContainer | undefined> {
    const known = this.#inspected.get(id);
    if (known?.initPid === initPid) return known.container;
    const text = await this.#api.find(`/containers/${id}/json`);
    const container = text === undefined ? undefined : await this.#inspect(id, text);
    if (container?.initPid === initPid) this.#inspected.set(id, { initPid, container });
    return container;
  }

  async #inspect(id: string, text: string): Promise<EngineContainer | undefined> {
    const inspect = parseJsonObject('a container', text);
    const initPid = countOf('State.Pid', objectOf('State', inspect['State'])['Pid']);
    const host = objectOf('HostConfig', inspect['HostConfig'] ?? {});
    const image = textOf('Image', inspect['Image']);
    const path = textOf('OCIConfigPath', inspect['OCIConfigPath']);
    const config = initPid === 0 || path === '' ? undefined : await configAt(path);
    if (config === undefined) return undefined;
    return {
      id,
      engine: 'podman',
      ground: podmanGround(this.#place, id),
      name: textOf('Name', inspect['Name']),
      sandboxId: textOf('Pod', inspect['Pod']),
      initPid,
      imageName: textOf('ImageName', inspect['ImageName']),
      manifestDigest: textOf('ImageDigest', inspect['ImageDigest']),
      configDigest: ID.test(image) ? `sha256:${image}` : '',
      imageEnvironment: await this.#imageEnvironment(image),
      labels: labelsOf(objectOf('Config', inspect['Config'] ?? {})['Labels']),
      config: { ...config, privileged: config.privileged || host['Privileged'] === true },
    };
  }

  async #imageEnvironment(image: string): Promise<readonly string[]> {
    const known = this.#imageEnvironments.get(image);
    if (known !== undefined || !ID.test(image)) return known ?? [];
    const text = await this.#api.find(`/images/${image}/json`);
    if (text === undefined) return [];
    const config = objectOf('Config', parseJsonObject('an image', text)['Config'] ?? {});
    const environment = textsOf('Env', config['Env']);
    this.#imageEnvironments.set(image, environment);
    return environment;
  }
}

/** The runtime's configuration in a file; undefined where there is none any more. Throws container.proc.malformed. */
export async function configAt(path: string): Promise<OciConfig | undefined> {
  try {
    return parseOciConfig((await readBounded(path, MAX_CONFIG_BYTES)).toString('utf8'));
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}
