import { LacreError } from '../lacre-error.ts';
import type { OciConfig } from './podman-config.ts';

/** A running container as its engine has it. Nothing of it is the kernel's word. */
export interface EngineContainer {
  readonly id: string;
  readonly name: string;
  /** Of its pod; empty: none. */
  readonly sandboxId: string;
  /** Pid of its first process, on the host. */
  readonly initPid: number;
  readonly imageName: string;
  /** "sha256:…", or empty where the engine knows none. */
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
   */
  list(): Promise<EngineContainer[]>;
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

/** The error of an engine that can't be read. */
export function engineFault(what: string, cause: unknown): LacreError {
  if (cause instanceof LacreError && cause.code === 'agent.engine.unavailable') return cause;
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new LacreError('agent.engine.unavailable', `${what} can't be read: ${reason}`, {}, { cause });
}
