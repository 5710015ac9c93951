import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { listOf, objectOf, parseJson, parseJsonObject, textOf, textsOf } from '../container/json-value.ts';
import { type OciConfig, parseOciConfig } from './podman-config.ts';
import {
  type ContainerSource,
  type EngineContainer,
  type EngineGround,
  engineFault,
  type PodmanPlace,
  podmanGround,
} from './podman-source.ts';
import { isMissing, readBounded } from './proc.ts';

/** A container of containers.json (containers/storage). */
interface StoredContainer {
  readonly id: string;
  readonly name: string;
  /** Configuration digest, bare hex. */
  readonly image: string;
  readonly imageName: string;
}

/** What an image's configuration says. */
interface ImageConfig {
  readonly environment: readonly string[];
  readonly labels: ReadonlyMap<string, string>;
}

interface Known {
  /** What the two lists say. */
  readonly entry: string;
  readonly pidState: string;
  readonly container: EngineContainer;
}

/** A parsed file, and the state of the file that it was parsed from. */
interface Cached<T> {
  readonly state: string;
  readonly value: T;
}

const MAX_INDEX_BYTES = 64 * 1024 * 1024;
const MAX_CONFIG_BYTES = 4 * 1024 * 1024;
const MAX_CONTAINERS = 4096;
const ID = /^[0-9a-f]{64}$/;

/**
 * podman by its files: no service has to run, and nothing is executed. Needs CAP_DAC_READ_SEARCH. Labels are the
 * image's: those given on the command line are only in podman's database (PodmanRest tells them).
 */
export class PodmanFiles implements ContainerSource {
  readonly name: string;
  readonly #storage: string;
  readonly #run: string;
  readonly #files = new Map<string, Cached<unknown>>();
  /** Containers as they were made from just these: their first process's file, and their entries in the two lists. */
  readonly #known = new Map<string, Known>();

  constructor({ storage, run }: Pick<PodmanPlace, 'storage' | 'run'>) {
    this.name = `podman's files in ${storage}`;
    this.#storage = storage;
    this.#run = run;
  }

  /** Throws agent.engine.unavailable. */
  async list(isAlive: (container: EngineContainer) => boolean = () => false): Promise<EngineContainer[]> {
    try {
      const stored = await this.#stored();
      const images = await this.#parsed(
        join(this.#storage, 'overlay-images/images.json'),
        MAX_INDEX_BYTES,
        parseImages,
      );
      const running = await Promise.all(
        stored.map((container) => this.#running(container, images?.value ?? new Map(), isAlive)),
      );
      this.#forget(new Set(stored.map(({ id }) => id)));
      return running.filter((container) => container !== undefined);
    } catch (error) {
      throw engineFault(this.name, error);
    }
  }

  async #stored(): Promise<StoredContainer[]> {
    const folder = join(this.#storage, 'overlay-containers');
    const lists = await Promise.all(
      ['containers.json', 'volatile-containers.json'].map((file) =>
        this.#parsed(join(folder, file), MAX_INDEX_BYTES, parseContainers),
      ),
    );
    // No list is there before the first container; a storage that isn't there is a fault.
    if (lists.every((list) => list === undefined)) await stat(this.#storage);
    const all = lists.flatMap((list) => list?.value ?? []);
    if (all.length > MAX_CONTAINERS) throw new Error(`${all.length} containers are over ${MAX_CONTAINERS}`);
    return all;
  }

  /** Undefined: the container doesn't run, or its files are not all there yet, or not any more. */
  async #running(
    stored: StoredContainer,
    manifests: ReadonlyMap<string, string>,
    isAlive: (container: EngineContainer) => boolean,
  ): Promise<EngineContainer | undefined> {
    const manifestDigest = manifests.get(stored.image) ?? '';
    const entry = [stored.name, stored.imageName, manifestDigest].join(' ');
    const former = this.#known.get(stored.id);
    if (former?.entry === entry && isAlive(former.container)) return former.container;
    const pid = await this.#parsed(`${this.#run}/overlay-containers/${stored.id}/userdata/pidfile`, 64, parsePid);
    if (pid?.value === undefined) return undefined;
    // The configuration is written before each start, so it is as old as this file, or older.
    if (former?.entry === entry && former.pidState === pid.state) return former.container;
    const path = join(this.#storage, 'overlay-containers', stored.id, 'userdata/config.json');
    const config = await this.#parsed(path, MAX_CONFIG_BYTES, parseOciConfig);
    if (config === undefined) return undefined;
    const image = await this.#image(stored.image);
    const ground = podmanGround({ storage: this.#storage, run: this.#run }, stored.id);
    const container = engineContainer(stored, pid.value, ground, config.value, { ...image, manifestDigest });
    this.#known.set(stored.id, { entry, pidState: pid.state, container });
    return container;
  }

  async #image(id: string): Promise<ImageConfig> {
    const none = { environment: [], labels: new Map<string, string>() };
    if (!ID.test(id)) return none;
    const file = `=${Buffer.from(`sha256:${id}`).toString('base64')}`;
    const config = await this.#parsed(
      join(this.#storage, 'overlay-images', id, file),
      MAX_CONFIG_BYTES,
      parseImageConfig,
    );
    return config?.value ?? none;
  }

  /** Parses a file anew only when it is another or was changed; undefined where there is none. */
  async #parsed<T>(path: string, maxBytes: number, parse: (text: string) => T): Promise<Cached<T> | undefined> {
    try {
      const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
      const state = [dev, ino, size, mtimeNs, ctimeNs].join(' ');
      const known = this.#files.get(path);
      if (known?.state === state) return known as Cached<T>;
      const parsed = { state, value: parse((await readBounded(path, maxBytes)).toString('utf8')) };
      this.#files.set(path, parsed);
      return parsed;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  #forget(present: ReadonlySet<string>): void {
    for (const id of this.#known.keys()) if (!present.has(id)) this.#known.delete(id);
    for (const path of this.#files.keys()) {
      const id = /overlay-containers\/([0-9a-f]{64})\//.exec(path)?.[1];
      if (id !== undefined && !present.has(id)) this.#files.delete(path);
    }
  }
}

function engineContainer(
  stored: StoredContainer,
  initPid: number,
  ground: EngineGround,
  config: OciConfig,
  image: ImageConfig & { readonly manifestDigest: string },
): EngineContainer {
  return {
    id: stored.id,
    engine: 'podman',
    ground,
    name: stored.name,
    sandboxId: config.sandboxId,
    initPid,
    imageName: stored.imageName,
    manifestDigest: image.manifestDigest,
    configDigest: ID.test(stored.image) ? `sha256:${stored.image}` : '',
    imageEnvironment: image.environment,
    labels: image.labels,
    config,
  };
}

function parsePid(text: string): number | undefined {
  return /^[1-9]\d{0,9}$/.test(text.trim()) ? Number(text.trim()) : undefined;
}

function parseContainers(text: string): StoredContainer[] {
  return listOf('containers.json', parseJson('containers.json', text)).flatMap((value) => {
    const container = objectOf('a container', value);
    const id = textOf('id of a container', container['id']);
    if (!ID.test(id)) return [];
    const metadata = parseJsonObject('metadata of a container', textOf('metadata', container['metadata']) || '{}');
    const [name] = textsOf('names of a container', container['names']);
    return [
      {
        id,
        name: name ?? textOf('name', metadata['name']),
        image: textOf('image of a container', container['image']),
        imageName: textOf('image-name', metadata['image-name']),
      },
    ];
  });
}

/** Image id → manifest digest. */
function parseImages(text: string): Map<string, string> {
  const images = listOf('images.json', parseJson('images.json', text)).map((value) => {
    const image = objectOf('an image', value);
    return [textOf('id of an image', image['id']), textOf('digest of an image', image['digest'])] as const;
  });
  return new Map(images.filter(([, digest]) => /^sha256:[0-9a-f]{64}$/.test(digest)));
}

function parseImageConfig(text: string): ImageConfig {
  const config = objectOf("an image's config", parseJsonObject("an image's configuration", text)['config'] ?? {});
  return {
    environment: textsOf('Env of an image', config['Env']),
    labels: labelsOf(config['Labels']),
  };
}

/** Labels of an engine's JSON. Throws container.proc.malformed. */
export function labelsOf(value: unknown): Map<string, string> {
  const labels = Object.entries(objectOf('labels', value ?? {}));
  return new Map(labels.map(([name, text]) => [name, textOf('a label', text)]));
}
