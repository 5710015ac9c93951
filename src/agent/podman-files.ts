import { type BigIntStats, statSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { listOf, objectOf, parseJson, parseJsonObject, textOf, textsOf } from '../container/json-value.ts';
import { FolderWatch } from './folder-watch.ts';
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
  readonly stored: StoredContainer;
  readonly manifestDigest: string;
  readonly pidState: string;
  readonly container: EngineContainer;
}

/** A parsed file, and the state of the file that it was parsed from. */
interface Cached<T> {
  readonly state: string;
  readonly value: T;
}

/** By path. */
type Files = Map<string, Cached<unknown>>;

const NO_MANIFESTS: ReadonlyMap<string, string> = new Map();
const MAX_INDEX_BYTES = 64 * 1024 * 1024;
const MAX_CONFIG_BYTES = 4 * 1024 * 1024;
const MAX_CONTAINERS = 4096;
const ID = /^[0-9a-f]{64}$/;
/** The lists are looked at anew after this time, also where nothing was told of them. */
const LIST_EVERY_MS = 10_000;
/** With more containers of which it isn't known that they live, all is listed each time. */
const MAX_UNSURE = 256;

/**
 * podman by its files: no service has to run, and nothing is executed. Needs CAP_DAC_READ_SEARCH. Labels are the
 * image's: those given on the command line are only in podman's database (PodmanRest tells them).
 */
export class PodmanFiles implements ContainerSource {
  readonly name: string;
  readonly #storage: string;
  readonly #run: string;
  readonly #files: Files = new Map();
  /** Of each container. */
  readonly #ownFiles = new Map<string, Files>();
  /** Containers as they were made from just these: their first process's file, and their entries in the two lists. */
  readonly #known = new Map<string, Known>();
  readonly #folders: FolderWatch;
  #lists: readonly unknown[] = [];
  #stored: readonly StoredContainer[] = [];
  /** Of each container that was not known to live at the last list: the file that tells its first process, and its state. */
  #unsure: ReadonlyMap<string, string | undefined> = new Map();
  #listAtMs = Number.NEGATIVE_INFINITY;

  constructor({ storage, run }: Pick<PodmanPlace, 'storage' | 'run'>) {
    this.name = `podman's files in ${storage}`;
    this.#storage = storage;
    this.#run = run;
    this.#folders = new FolderWatch(['overlay-containers', 'overlay-images'].map((name) => join(storage, name)));
  }

  isUnchanged(): boolean {
    if (this.#folders.isChanged || performance.now() >= this.#listAtMs || this.#unsure.size > MAX_UNSURE) return false;
    // The run root is in memory: no disk holds this up.
    return [...this.#unsure].every(([path, state]) => stateNow(path) === state);
  }

  /** Throws agent.engine.unavailable. */
  async list(isAlive: (container: EngineContainer) => boolean = () => false): Promise<EngineContainer[]> {
    this.#listAtMs = Number.NEGATIVE_INFINITY;
    this.#folders.begin();
    try {
      const stored = await this.#readStored();
      const images = await this.#parsed(
        join(this.#storage, 'overlay-images/images.json'),
        MAX_INDEX_BYTES,
        parseImages,
      );
      const manifests = images?.value ?? NO_MANIFESTS;
      const living = stored.map((container) => this.#living(container, manifests, isAlive));
      const others = stored.filter((_, at) => living[at] === undefined);
      const read = await Promise.all(others.map((container) => this.#running(container, manifests)));
      this.#unsure = new Map(others.map(({ id }, at) => [this.#pidFile(id), this.#pidState(id, read[at])]));
      this.#listAtMs = performance.now() + LIST_EVERY_MS;
      return [...living, ...read].filter((container) => container !== undefined);
    } catch (error) {
      this.#folders.close();
      throw engineFault(this.name, error);
    }
  }

  /** What both lists hold; the same object as before where they have not changed. */
  async #readStored(): Promise<readonly StoredContainer[]> {
    const folder = join(this.#storage, 'overlay-containers');
    const lists = await Promise.all(
      ['containers.json', 'volatile-containers.json'].map((file) =>
        this.#parsed(join(folder, file), MAX_INDEX_BYTES, parseContainers),
      ),
    );
    // No list is there before the first container; a storage that isn't there is a fault.
    if (lists.every((list) => list === undefined)) await stat(this.#storage);
    if (lists.length === this.#lists.length && lists.every((list, at) => list === this.#lists[at])) return this.#stored;
    const all = lists.flatMap((list) => list?.value ?? []);
    if (all.length > MAX_CONTAINERS) throw new Error(`${all.length} containers are over ${MAX_CONTAINERS}`);
    this.#forget(new Set(all.map(({ id }) => id)));
    this.#lists = lists;
    this.#stored = all;
    return all;
  }

  /** The container as it was told before, where nothing about it can be different. */
  #living(
    stored: StoredContainer,
    manifests: ReadonlyMap<string, string>,
    isAlive: (container: EngineContainer) => boolean,
  ): EngineContainer | undefined {
    const former = this.#known.get(stored.id);
    if (former === undefined || !isTold(former, stored, manifests)) return undefined;
    return isAlive(former.container) ? former.container : undefined;
  }

  /** Undefined: the container doesn't run, or its files are not all there yet, or not any more. */
  async #running(
    stored: StoredContainer,
    manifests: ReadonlyMap<string, string>,
  ): Promise<EngineContainer | undefined> {
    const { id } = stored;
    const manifestDigest = manifests.get(stored.image) ?? '';
    const former = this.#known.get(id);
    const pid = await this.#parsed(this.#pidFile(id), 64, parsePid, this.#filesOf(id));
    if (pid?.value === undefined) return undefined;
    // The configuration is written before each start, so it is as old as this file, or older.
    if (former?.pidState === pid.state && isTold(former, stored, manifests)) return former.container;
    const path = join(this.#storage, 'overlay-containers', id, 'userdata/config.json');
    const config = await this.#parsed(path, MAX_CONFIG_BYTES, parseOciConfig, this.#filesOf(id));
    if (config === undefined) return undefined;
    const image = await this.#image(stored.image);
    const ground = podmanGround({ storage: this.#storage, run: this.#run }, id);
    const container = engineContainer(stored, pid.value, ground, config.value, { ...image, manifestDigest });
    this.#known.set(id, { stored, manifestDigest, pidState: pid.state, container });
    return container;
  }

  #pidFile(id: string): string {
    return `${this.#run}/overlay-containers/${id}/userdata/pidfile`;
  }

  /** State of that file as it was read last; none where more than that file has to come. */
  #pidState(id: string, told: EngineContainer | undefined): string | undefined {
    const file = this.#ownFiles.get(id)?.get(this.#pidFile(id));
    if (file?.value !== undefined && told === undefined) return undefined;
    return file?.state ?? '';
  }

  #filesOf(id: string): Files {
    const known = this.#ownFiles.get(id);
    if (known !== undefined) return known;
    const files: Files = new Map();
    this.#ownFiles.set(id, files);
    return files;
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
  async #parsed<T>(
    path: string,
    maxBytes: number,
    parse: (text: string) => T,
    files = this.#files,
  ): Promise<Cached<T> | undefined> {
    try {
      const state = stateOf(await stat(path, { bigint: true }));
      const known = files.get(path);
      if (known?.state === state) return known as Cached<T>;
      const parsed = { state, value: parse((await readBounded(path, maxBytes)).toString('utf8')) };
      files.set(path, parsed);
      return parsed;
    } catch (error) {
      if (!isMissing(error)) throw error;
      files.delete(path);
      return undefined;
    }
  }

  #forget(present: ReadonlySet<string>): void {
    for (const kept of [this.#known, this.#ownFiles])
      for (const id of kept.keys()) if (!present.has(id)) kept.delete(id);
  }
}

/** Whether a container was told from just these. */
function isTold(known: Known, stored: StoredContainer, manifests: ReadonlyMap<string, string>): boolean {
  const { name, imageName, image } = known.stored;
  const isEntry = known.stored === stored || (name === stored.name && imageName === stored.imageName);
  return isEntry && image === stored.image && known.manifestDigest === (manifests.get(image) ?? '');
}

/** Another text where the file is another, or was written to. */
function stateOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return [dev, ino, size, mtimeNs, ctimeNs].join(' ');
}

/** Empty where there is no such file. */
function stateNow(path: string): string {
  const stats = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stats === undefined ? '' : stateOf(stats);
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
