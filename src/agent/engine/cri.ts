import { join } from 'node:path';
import type { Client } from '@connectrpc/connect';
import { Code, ConnectError } from '@connectrpc/connect';
import type { EngineName } from '../../container/cgroup.ts';
import { countOf, type JsonObject, objectOf, parseJsonObject, textsOf } from '../../container/json-value.ts';
import { type Container, ContainerState, ImageService, RuntimeService } from '../../proto/cri/runtime_pb.ts';
import { UnixClient } from '../../unix-client.ts';
import { type OciConfig, ociConfigOf } from '../podman-config.ts';
import { type ContainerSource, type EngineContainer, engineFault } from '../podman-source.ts';

/** A runtime of Kubernetes: its socket and folders. */
export interface CriPlace {
  readonly socket: string;
  readonly data: string;
  readonly state: string;
}

const MAX_CONTAINERS = 4096;
const TIMEOUT_MS = 4000;
const ID = /^[0-9a-f]{64}$/;
const CONFIG_DIGEST = /^(?:sha256:)?([0-9a-f]{64})$/;
/** Where the kubelet keeps what it mounts into pods, volumes among it. */
const KUBELET_PODS = '/var/lib/kubelet/pods';

/** The kubelet's label. */
const POD_UID = 'io.kubernetes.pod.uid';

/** What is kept of an image: its configuration's digest and its NAME=value. */
interface KnownImage {
  readonly configDigest: string;
  readonly environment: readonly string[];
}

/**
 * containerd or CRI-O by the Container Runtime Interface (v1), as the kubelet asks them. Their verbose status holds the pid
 * and the runtime's configuration. A container's start is told by its creation: one that ended is made anew. Both know
 * images by the digest of their configuration; what they call a digest of a repository may be that of an index.
 */
export class CriEngine implements ContainerSource, Disposable {
  readonly name: string;
  readonly #engine: EngineName;
  readonly #place: CriPlace;
  readonly #client: UnixClient;
  readonly #runtime: Client<typeof RuntimeService>;
  readonly #images: Client<typeof ImageService>;
  readonly #timeoutMs: number;
  readonly #known = new Map<string, EngineContainer>();
  readonly #knownImages = new Map<string, KnownImage>();

  constructor(engine: 'containerd' | 'cri-o', place: CriPlace, timeoutMs = TIMEOUT_MS) {
    this.name = `${engine}'s socket ${place.socket}`;
    this.#engine = engine;
    this.#place = place;
    this.#timeoutMs = timeoutMs;
    this.#client = new UnixClient(place.socket);
    this.#runtime = this.#client.service(RuntimeService);
    this.#images = this.#client.service(ImageService);
  }

  /** Throws agent.engine.unavailable. */
  async list(): Promise<EngineContainer[]> {
    try {
      const filter = { state: { state: ContainerState.CONTAINER_RUNNING } };
      const { containers: listed } = await this.#runtime.listContainers({ filter }, { timeoutMs: this.#timeoutMs });
      if (listed.length > MAX_CONTAINERS) throw new Error(`${listed.length} containers are over ${MAX_CONTAINERS}`);
      const running = listed.filter(({ id, state }) => ID.test(id) && state === ContainerState.CONTAINER_RUNNING);
      const present = new Set(running.map(({ id }) => id));
      for (const id of this.#known.keys()) if (!present.has(id)) this.#known.delete(id);
      const containers: EngineContainer[] = [];
      for (const container of running) {
        const known = this.#known.get(container.id) ?? (await this.#container(container));
        if (known !== undefined) containers.push(known);
      }
      return containers;
    } catch (error) {
      throw engineFault(this.name, error);
    }
  }

  [Symbol.dispose](): void {
    this.#client[Symbol.dispose]();
  }

  async #container({
    id,
    podSandboxId,
    metadata,
    image,
    imageRef,
    labels,
  }: Container): Promise<EngineContainer | undefined> {
    const info = await this.#info(id);
    if (info === undefined) return undefined;
    const initPid = countOf('pid', info['pid']);
    const spec = info['runtimeSpec'];
    if (initPid === 0 || spec === undefined || spec === null) return undefined;
    const config = ociConfigOf(objectOf('runtimeSpec', spec));
    const known = await this.#image(imageRef || (image?.image ?? ''));
    const container: EngineContainer = {
      id,
      engine: this.#engine,
      ground: this.#ground(podSandboxId, labels[POD_UID] ?? ''),
      name: metadata?.name ?? '',
      sandboxId: ID.test(podSandboxId) ? podSandboxId : '',
      initPid,
      imageName: image?.userSpecifiedImage || (image?.image ?? ''),
      manifestDigest: '',
      configDigest: known.configDigest,
      imageEnvironment: known.environment,
      labels: new Map(Object.entries(labels)),
      config: { ...config, privileged: config.privileged || isPrivileged(info, config) },
    };
    this.#known.set(id, container);
    return container;
  }

  /** Undefined: the container is gone, or the engine tells nothing of it yet. */
  async #info(containerId: string): Promise<JsonObject | undefined> {
    try {
      const request = { containerId, verbose: true };
      const { info } = await this.#runtime.containerStatus(request, { timeoutMs: this.#timeoutMs });
      return info['info'] === undefined ? undefined : parseJsonObject('info of a container', info['info']);
    } catch (error) {
      if (ConnectError.from(error).code === Code.NotFound) return undefined;
      throw error;
    }
  }

  async #image(reference: string): Promise<KnownImage> {
    const known = this.#knownImages.get(reference);
    if (known !== undefined) return known;
    const request = { image: { image: reference }, verbose: true };
    const { image, info } = await this.#images.imageStatus(request, { timeoutMs: this.#timeoutMs });
    const [, hex] = CONFIG_DIGEST.exec(image?.id ?? '') ?? [];
    const spec = objectOf('imageSpec', parseJsonObject('info of an image', info['info'] ?? '{}')['imageSpec'] ?? {});
    const config = objectOf('config of an image', spec['config'] ?? {});
    const found = {
      configDigest: hex === undefined ? '' : `sha256:${hex}`,
      environment: textsOf('Env', config['Env']),
    };
    if (this.#knownImages.size >= MAX_CONTAINERS) this.#knownImages.clear();
    if (hex !== undefined) this.#knownImages.set(reference, found);
    return found;
  }

  #ground(sandboxId: string, podUid: string): EngineContainer['ground'] {
    const { data, state, socket } = this.#place;
    const sandboxes = [data, state].map((root) => join(root, 'io.containerd.grpc.v1.cri/sandboxes', sandboxId));
    const userdata = [data, state].map((root) => join(root, 'overlay-containers', sandboxId, 'userdata'));
    const pod = /^[0-9a-f-]{36}$/.test(podUid) ? join(KUBELET_PODS, podUid) : undefined;
    // What the kubelet itself mounts: the pod's /etc/hosts, and its containers' termination logs.
    const kubelet = pod === undefined ? [] : [join(pod, 'etc-hosts'), join(pod, 'containers')];
    return {
      own: [...(this.#engine === 'containerd' ? sandboxes : userdata), ...kubelet],
      state: [data, state],
      volumes: [KUBELET_PODS],
      sockets: [socket],
    };
  }
}

/** CRI-O says it outright; containerd shows the configuration that it was given. */
function isPrivileged(info: JsonObject, config: OciConfig): boolean {
  if (info['privileged'] === true || config.privileged) return true;
  const linux = objectOf('linux', objectOf('config', info['config'] ?? {})['linux'] ?? {});
  return objectOf('security_context', linux['security_context'] ?? {})['privileged'] === true;
}
