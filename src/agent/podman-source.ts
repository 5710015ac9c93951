import { join } from 'node:path';
import type { EngineName } from '../container/cgroup.ts';
import { LacreError } from '../lacre-error.ts';
import type { OciConfig } from './podman-config.ts';

/** Folders and sockets of an engine, as far as they concern one container. */
export interface EngineGround {
  /** Where the engine keeps what it mounts into this one container. */
  readonly own: readonly string[];
  /** Its storage and state: whoever has one of them mounted commands the engine. */
  readonly state: readonly string[];
  /** Where it keeps volumes, inside `state`. */
  readonly volumes: readonly string[];
  /** Through which it takes commands, besides the places that every engine has by default. */
  readonly sockets: readonly string[];
}

/** A running container as its engine has it. Nothing of it is the kernel's word. */
export interface EngineContainer {
  readonly id: string;
  readonly engine: EngineName;
  readonly ground: EngineGround;
  readonly name: string;
  /** Of its pod; empty: none. */
  readonly sandboxId: string;
  /** Pid of its first process, on the host. */
  readonly initPid: number;
  readonly imageName: string;
  /** "sha256:…", or empty where the engine knows none, or may know an index's instead. */
  readonly manifestDigest: string;
  readonly configDigest: string;
  /** The image's NAME=value. */
  readonly imageEnvironment: readonly string[];
  readonly labels: ReadonlyMap<string, string>;
  readonly config: OciConfig;
}

/** Where running containers are read from. */
export interface ContainerSource {
  /** For messages. */
  readonly name: string;
  /**
   * Every container that has a first process now. One that is half made, or ends meanwhile, is left out.
   * Throws agent.engine.unavailable.
   * @param isAlive whether the first process of a container of an earlier list still lives; such a one may be told again
   *   as it was.
   */
  list(isAlive?: (container: EngineContainer) => boolean): Promise<EngineContainer[]>;
  /**
   * Whether another list now would give the same objects as the last, as long as their first processes live; left out: that
   * can't be told more cheaply. A change of the last moment may be missed.
   */
  isUnchanged?(): boolean;
  /** Why a part of the last list is not new; undefined: all of it is. */
  readonly fault?: LacreError | undefined;
}

/** podman's folders and, where its labels and pods are wanted, its socket. */
export interface PodmanPlace {
  /** Graph root. */
  readonly storage: string;
  /** Run root. */
  readonly run: string;
  /** REST socket; undefined: its files are read, which needs no service. */
  readonly socket?: string | undefined;
}

/** Ground of a podman container. */
export function podmanGround({ storage, run, socket }: PodmanPlace, id: string): EngineGround {
  return {
    own: [storage, run].map((root) => join(root, 'overlay-containers', id, 'userdata')),
    state: [storage, run],
    volumes: [join(storage, 'volumes')],
    sockets: socket === undefined ? [] : [socket],
  };
}

/** The error of an engine that can't be read. */
export function engineFault(what: string, cause: unknown): LacreError {
  if (cause instanceof LacreError && cause.code === 'agent.engine.unavailable') return cause;
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new LacreError('agent.engine.unavailable', `${what} can't be read: ${reason}`, {}, { cause });
}

/** What an engine answers, if it does in time. Rejects with agent.engine.unavailable where it does not. */
export function answerInTime<T>(work: Promise<T>, name: string, timeoutMs: number): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const sentence = `${name} gave no answer within ${timeoutMs} ms`;
  const late = () => reject(new LacreError('agent.engine.unavailable', sentence, { timeoutMs }));
  const timer = setTimeout(late, timeoutMs);
  return Promise.race([work, promise]).finally(() => clearTimeout(timer));
}
