import { request } from 'node:http';
import { join } from 'node:path';
import { countOf, listOf, objectOf, parseJson, parseJsonObject, textOf, textsOf } from '../container/json-value.ts';
import { parseOciConfig } from './podman-config.ts';
import { labelsOf } from './podman-files.ts';
import { type ContainerSource, type EngineContainer, engineFault, type PodmanPlace } from './podman-source.ts';
import { isMissing, readBounded } from './proc.ts';

const API = '/v4.0.0/libpod';
const MAX_BODY_BYTES = 64 * 1024 * 1024;
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
  readonly #socket: string;
  readonly #timeoutMs: number;
  readonly #inspected = new Map<string, Inspected>();
  readonly #imageEnvironments = new Map<string, readonly string[]>();

  constructor({ socket }: PodmanPlace & { readonly socket: string }, timeoutMs = TIMEOUT_MS) {
    this.name = `podman's socket ${socket}`;
    this.#socket = socket;
    this.#timeoutMs = timeoutMs;
  }

  /** Throws agent.engine.unavailable. */
  async list(): Promise<EngineContainer[]> {
    try {
      const listed = listOf('containers', parseJson('containers', await this.#get('/containers/json')));
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
    const text = await this.#get(`/containers/${id}/json`, true);
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
    const text = await this.#get(`/images/${image}/json`, true);
    if (text === undefined) return [];
    const config = objectOf('Config', parseJsonObject('an image', text)['Config'] ?? {});
    const environment = textsOf('Env', config['Env']);
    this.#imageEnvironments.set(image, environment);
    return environment;
  }

  #get(path: string): Promise<string>;
  /** @param optional undefined where podman answers that there is no such thing. */
  #get(path: string, optional: true): Promise<string | undefined>;
  #get(path: string, optional = false): Promise<string | undefined> {
    const { promise, resolve, reject } = Promise.withResolvers<string | undefined>();
    const signal = AbortSignal.timeout(this.#timeoutMs);
    const get = request(
      { socketPath: this.#socket, path: join(API, path), headers: { host: 'podman' }, signal },
      (response) => {
        const chunks: Buffer[] = [];
        let length = 0;
        response.on('data', (chunk: Buffer) => {
          length += chunk.length;
          if (length > MAX_BODY_BYTES)
            get.destroy(new Error(`the answer to ${path} is longer than ${MAX_BODY_BYTES} bytes`));
          else chunks.push(chunk);
        });
        response.on('error', reject);
        response.on('end', () => {
          if (response.statusCode === 200) resolve(Buffer.concat(chunks).toString('utf8'));
          else if (optional && response.statusCode === 404) resolve(undefined);
          else reject(new Error(`podman answers ${response.statusCode} to ${path}`));
        });
      },
    );
    get.on('error', (error) => reject(signal.aborted ? new Error(`no answer within ${this.#timeoutMs} ms`) : error));
    get.end();
    return promise;
  }
}

async function configAt(path: string): Promise<ReturnType<typeof parseOciConfig> | undefined> {
  try {
    return parseOciConfig((await readBounded(path, MAX_CONFIG_BYTES)).toString('utf8'));
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}
