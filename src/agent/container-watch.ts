import { setImmediate } from 'node:timers/promises';
import type { ProcessStatus } from '../container/process-status.ts';
import { isLacreError, LacreError } from '../lacre-error.ts';
import { ContainerObserver, type ObservedContainer } from './container-watch-observe.ts';
import type { Native } from './native.ts';
import { answerInTime, type ContainerSource, type EngineContainer, engineFault } from './podman-source.ts';
import type { Proc } from './proc.ts';

/** What changed between two looks at the node's containers. */
export interface ContainerDiff {
  /** Canonical bytes of containers that are new or not as they were. */
  readonly changed: readonly Uint8Array[];
  readonly gone: readonly string[];
}

export interface ContainerWatchOptions {
  readonly source: ContainerSource;
  readonly proc: Proc;
  /** Without it everything of a container is read at each look. */
  readonly native?: Native;
  /** From the end of one look to the next; 1 s by default. */
  readonly intervalMs?: number;
  /** An engine that answers later counts as one that doesn't; 5 s by default. */
  readonly timeoutMs?: number;
  /** Told of every difference, in order. What it returns is awaited before the next look. */
  readonly onDiff?: (diff: ContainerDiff) => void | Promise<void>;
  /** Told once when looking begins to fail, or fails otherwise; undefined when it works again. */
  readonly onFault?: (fault: LacreError | undefined) => void;
}

/** What an engine listed, by id or in its order. */
type Listed = ReadonlyMap<string, EngineContainer> | readonly EngineContainer[];

/** How long a look works before others get their turn. */
const TURN_MS = 2;

/**
 * Looks at every running container, each second and whenever it is asked. A look that fails changes nothing: what was
 * seen before stays until a look tells otherwise.
 */
export class ContainerWatch {
  readonly #options: ContainerWatchOptions;
  readonly #observer: ContainerObserver;
  readonly #intervalMs: number;
  readonly #timeoutMs: number;
  #engine: ReadonlyMap<string, EngineContainer> = new Map();
  readonly #observed = new Map<string, ObservedContainer>();
  #looking: { readonly isWhole: boolean; readonly done: Promise<void> } | undefined;
  #listing: Promise<EngineContainer[]> | undefined;
  /** When containers were refreshed since the last look began: performance.now(). */
  #fresh = new Map<string, number>();
  readonly #refreshing = new Map<string, Promise<ObservedContainer | undefined>>();
  #timer: NodeJS.Timeout | undefined;
  #running = false;
  #fault: string | undefined;
  #version = 0;

  constructor(options: ContainerWatchOptions) {
    this.#options = options;
    this.#observer = new ContainerObserver(options.proc, options.native);
    this.#intervalMs = options.intervalMs ?? 1000;
    this.#timeoutMs = options.timeoutMs ?? 5000;
  }

  /** Another number after each change of what is seen. */
  get version(): number {
    return this.#version;
  }

  /** What was seen at the last look, by id. */
  get containers(): ReadonlyMap<string, ObservedContainer> {
    return this.#observed;
  }

  /** The first look, then one each interval until stop. Never rejects: faults go to onFault. */
  async start(): Promise<void> {
    this.#running = true;
    await this.#tick();
  }

  /** Resolves when no look is under way any more. */
  async stop(): Promise<void> {
    this.#running = false;
    clearTimeout(this.#timer);
    await this.#looking?.done.catch(() => undefined);
    this.#observer.close();
  }

  /** A look at all containers, now: one that began before doesn't count. Throws agent.engine.unavailable. */
  async look(): Promise<void> {
    await this.#looking?.done.catch(() => undefined);
    while (this.#looking !== undefined && !this.#looking.isWhole) await this.#looking.done.catch(() => undefined);
    await this.#begin(true);
  }

  /** @param isWhole also those that were refreshed a moment ago. */
  #begin(isWhole: boolean): Promise<void> {
    this.#looking ??= {
      isWhole,
      done: this.#lookOnce(isWhole).finally(() => {
        this.#looking = undefined;
      }),
    };
    return this.#looking.done;
  }

  /**
   * One container as it is now, or undefined where the engine knows no such running one: at once where it is one of those
   * that were seen. Calls for another at the same time share a look. Throws agent.engine.unavailable, at once or later.
   * @param process of the container, which was read a moment ago and need not be read again
   */
  refresh(
    containerId: string,
    process?: ProcessStatus,
  ): ObservedContainer | undefined | Promise<ObservedContainer | undefined> {
    const known = this.#refreshing.get(containerId);
    if (known !== undefined) return known;
    const engine = this.#engine.get(containerId);
    const seen = engine === undefined ? undefined : this.#observe(engine, process);
    const told = seen === undefined ? undefined : this.#refreshed(seen);
    if (seen !== undefined && told === undefined) return seen;
    const refreshed = (told ?? this.look())
      .then(() => seen ?? this.#observed.get(containerId))
      .finally(() => this.#refreshing.delete(containerId));
    this.#refreshing.set(containerId, refreshed);
    return refreshed;
  }

  /** What is to be waited for where it is not as before. */
  #refreshed(seen: ObservedContainer): Promise<void> | undefined {
    const before = this.#observed.get(seen.id);
    this.#observed.set(seen.id, seen);
    this.#fresh.set(seen.id, performance.now());
    if (before?.sha256Hex === seen.sha256Hex) return undefined;
    this.#version += 1;
    const told = this.#options.onDiff?.({ changed: [seen.bytes], gone: [] });
    return told instanceof Promise ? told : undefined;
  }

  async #tick(): Promise<void> {
    if (!this.#isAsBefore()) await this.#lookAndTell();
    if (!this.#running) return;
    this.#timer = setTimeout(() => void this.#tick(), this.#intervalMs);
  }

  async #lookAndTell(): Promise<void> {
    try {
      await this.#looking?.done.catch(() => undefined);
      await this.#begin(false);
      this.#tell(undefined);
    } catch (error) {
      this.#tell(engineFault(this.#options.source.name, error));
    }
  }

  #tell(fault: LacreError | undefined): void {
    if (fault?.message === this.#fault) return;
    this.#fault = fault?.message;
    this.#options.onFault?.(fault);
  }

  /** Nothing has changed at all: by far the most ticks end here. */
  #isAsBefore(): boolean {
    const { size } = this.#engine;
    if (this.#looking !== undefined || this.#fault !== undefined || this.#observed.size !== size) return false;
    try {
      if (this.#options.source.isUnchanged?.() !== true || this.#observer.sweep() !== 'same') return false;
    } catch {
      return false;
    }
    this.#fresh.clear();
    return this.#observer.sweptCount === size;
  }

  async #lookOnce(isWhole: boolean): Promise<void> {
    // What was refreshed within half of an interval is not read again: it is by the next look.
    const fresh = isWhole ? new Map<string, number>() : this.#fresh;
    const oldest = performance.now() - this.#intervalMs / 2;
    this.#fresh = new Map();
    const swept = this.#observer.sweep();
    const isListed = !isWhole && swept !== 'more' && this.#options.source.isUnchanged?.() === true;
    const listed: Listed = isListed ? this.#engine : await this.#list();
    const changed = new Set<string>();
    const faults: unknown[] = [];
    let turnMs = performance.now();
    for (const container of listed.values()) {
      if (this.#observed.has(container.id) && this.#observer.isSame(container)) continue;
      const isFresh = (fresh.get(container.id) ?? 0) > oldest && this.#engine.get(container.id) === container;
      if (isFresh && this.#observed.has(container.id)) continue;
      try {
        if (this.#see(container.id, this.#observe(container))) changed.add(container.id);
      } catch (error) {
        if (this.#see(container.id, undefined)) changed.add(container.id);
        faults.push(error);
      }
      // Others get their turn: with hundreds of containers a look takes long.
      if (performance.now() - turnMs < TURN_MS) continue;
      await setImmediate();
      turnMs = performance.now();
    }
    await this.#settle(listed, changed);
    // The others are told all the same; one that can't be looked at is a fault, not a silence.
    const fault = faults[0] ?? this.#options.source.fault;
    if (fault !== undefined) throw fault;
  }

  async #list(): Promise<readonly EngineContainer[]> {
    // An engine that hangs is not asked again before it has answered.
    this.#listing ??= this.#options.source
      .list((container) => this.#observer.isAlive(container))
      .finally(() => {
        this.#listing = undefined;
      });
    return answerInTime(this.#listing, this.#options.source.name, this.#timeoutMs);
  }

  /** Whether it is not as it was seen before. @param seen undefined: it is not there, or can't be looked at */
  #see(id: string, seen: ObservedContainer | undefined): boolean {
    if (seen === undefined) return this.#observed.delete(id);
    const before = this.#observed.get(id);
    this.#observed.set(id, seen);
    return before?.sha256Hex !== seen.sha256Hex;
  }

  /** @param changed ids of containers that came, are different, or could not be looked at any more */
  async #settle(listed: Listed, changed: Set<string>): Promise<void> {
    if (listed !== this.#engine) {
      this.#engine = new Map([...listed.values()].map((container) => [container.id, container]));
      this.#observer.keep(new Set(this.#engine.keys()));
      const gone = [...this.#observed.keys()].filter((id) => !this.#engine.has(id));
      for (const id of gone) if (this.#see(id, undefined)) changed.add(id);
    }
    if (changed.size === 0) return;
    this.#version += 1;
    // What was refreshed since this look began is newer than what it saw, and is told then.
    const now = [...changed].map((id) => this.#observed.get(id)).filter((seen) => seen !== undefined);
    const gone = [...changed].filter((id) => !this.#observed.has(id));
    await this.#options.onDiff?.({ changed: now.map(({ bytes }) => bytes), gone });
  }

  #observe(engine: EngineContainer, process?: ProcessStatus): ObservedContainer | undefined {
    try {
      return this.#observer.observe(engine, process);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      const sentence = isLacreError(error)
        ? reason
        : `${reason} (does the agent have CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH?)`;
      throw new LacreError(
        'agent.engine.unavailable',
        `container ${engine.name || engine.id} can't be looked at: ${sentence}`,
        { containerId: engine.id },
        { cause: error },
      );
    }
  }
}
