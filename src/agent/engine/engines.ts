import type { LacreError } from '../../lacre-error.ts';
import { openPodman } from '../podman.ts';
import {
  answerInTime,
  type ContainerSource,
  type EngineContainer,
  engineFault,
  type PodmanPlace,
} from '../podman-source.ts';
import { CriEngine, type CriPlace } from './cri.ts';
import { DockerEngine, type DockerPlace } from './docker.ts';

/** The engines of a node, each where it is there. */
export interface EnginePlaces {
  readonly podman?: PodmanPlace | undefined;
  readonly docker?: DockerPlace | undefined;
  readonly containerd?: CriPlace | undefined;
  readonly crio?: CriPlace | undefined;
}

/** An engine that answers later counts as one that doesn't; the others' containers are told then. */
const TIMEOUT_MS = 4500;

/** All engines that are configured, as one. */
export function openEngines(places: EnginePlaces): ContainerSource {
  const { podman, docker, containerd, crio } = places;
  const sources = [
    ...(podman === undefined ? [] : [openPodman(podman)]),
    ...(docker === undefined ? [] : [new DockerEngine(docker)]),
    ...(containerd === undefined ? [] : [new CriEngine('containerd', containerd)]),
    ...(crio === undefined ? [] : [new CriEngine('cri-o', crio)]),
  ];
  const [only, ...more] = sources;
  return only !== undefined && more.length === 0 ? only : new Engines(sources);
}

/**
 * Several engines. One that fails keeps what it last told, as a single engine does, and takes nothing from the others;
 * why it fails is in `fault`.
 */
export class Engines implements ContainerSource {
  readonly name = 'container engines';
  readonly #sources: readonly ContainerSource[];
  readonly #timeoutMs: number;
  readonly #last = new Map<ContainerSource, readonly EngineContainer[]>();
  /** An engine that hangs is not asked again before it has answered. */
  readonly #asked = new Map<ContainerSource, Promise<readonly EngineContainer[]>>();
  #fault: LacreError | undefined;

  constructor(sources: readonly ContainerSource[], timeoutMs = TIMEOUT_MS) {
    this.#sources = sources;
    this.#timeoutMs = timeoutMs;
  }

  get fault(): LacreError | undefined {
    return this.#fault;
  }

  /** Throws agent.engine.unavailable where none answers. */
  async list(): Promise<EngineContainer[]> {
    const settled = await Promise.allSettled(this.#sources.map((source) => this.#ask(source)));
    const faults = settled.flatMap((one, at) =>
      one.status === 'rejected' ? [engineFault(this.#sources[at]?.name ?? '', one.reason)] : [],
    );
    this.#fault = faults[0];
    if (faults.length === this.#sources.length && faults[0] !== undefined) throw faults[0];
    return this.#sources.flatMap((source) => this.#last.get(source) ?? []);
  }

  async #ask(source: ContainerSource): Promise<void> {
    let asked = this.#asked.get(source);
    if (asked === undefined) {
      asked = source.list().finally(() => this.#asked.delete(source));
      this.#asked.set(source, asked);
    }
    this.#last.set(source, await answerInTime(asked, source.name, this.#timeoutMs));
  }
}
