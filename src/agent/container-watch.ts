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
  #engine = new Map<string, EngineContainer>();
  #observed = new Map<string, ObservedContainer>();
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
   * One container as it is now, or undefined where the engine knows no such running one. Calls for one container at the
   * same time share a look. Throws agent.engine.unavailable.
   * @param process of the container, which was read a moment ago and need not be read again
   */
  refresh(containerId: string, process?: ProcessStatus): Promise<ObservedContainer | undefined> {
    const known = this.#refreshing.get(containerId);
    if (known !== undefined) return known;
    const refreshed = this.#refresh(containerId, process).finally(() => this.#refreshing.delete(containerId));
    this.#refreshing.set(containerId, refreshed);
    return refreshed;
  }

  async #refresh(containerId: string, process?: ProcessStatus): Promise<ObservedContainer | undefined> {
    const engine = this.#engine.get(containerId);
    const seen = engine === undefined ? undefined : this.#observe(engine, process);
    if (seen === undefined) {
      await this.look();
      return this.#observed.get(containerId);
    }
    const before = this.#observed.get(containerId);
    this.#observed.set(containerId, seen);
    this.#fresh.set(containerId, performance.now());
    if (before?.sha256Hex !== seen.sha256Hex) {
      this.#version += 1;
      await this.#options.onDiff?.({ changed: [seen.bytes], gone: [] });
    }
    return seen;
  }

  async #tick(): Promise<void> {
    try {
      await this.#looking?.done.catch(() => undefined);
      await this.#begin(false);
      this.#tell(undefined);
    } catch (error) {
      this.#tell(engineFault(this.#options.source.name, error));
    }
    if (!this.#running) return;
    this.#timer = setTimeout(() => void this.#tick(), this.#intervalMs);
  }

  #tell(fault: LacreError | undefined): void {
    if (fault?.message === this.#fault) return;
    this.#fault = fault?.message;
    this.#options.onFault?.(fault);
  }

  async #lookOnce(isWhole: boolean): Promise<void> {
    // What was refreshed within half of an interval is not read again: it is by the next look.
    const fresh = isWhole ? new Map<string, number>() : this.#fresh;
    const oldest = performance.now() - this.#intervalMs / 2;
    this.#fresh = new Map();
    // An engine that hangs is not asked again before it has answered.
    this.#listing ??= this.#options.source
      .list((container) => this.#observer.isAlive(container))
      .finally(() => {
        this.#listing = undefined;
      });
    const listed = await answerInTime(this.#listing, this.#options.source.name, this.#timeoutMs);
    this.#observer.sweep();
    if (this.#isAsBefore(listed)) {
      if (this.#options.source.fault !== undefined) throw this.#options.source.fault;
      return;
    }
    const seen = new Map<string, ObservedContainer>();
    const faults: unknown[] = [];
    let turnMs = performance.now();
    for (const container of listed) {
      try {
        const isFresh = (fresh.get(container.id) ?? 0) > oldest && this.#engine.get(container.id) === container;
        const isKept = isFresh || this.#observer.isSame(container);
        const observed = (isKept ? this.#observed.get(container.id) : undefined) ?? this.#observe(container);
        if (observed !== undefined) seen.set(observed.id, observed);
      } catch (error) {
        faults.push(error);
      }
      // Others get their turn: with hundreds of containers a look takes long.
      if (performance.now() - turnMs < TURN_MS) continue;
      await setImmediate();
      turnMs = performance.now();
    }
    this.#engine = new Map(listed.map((container) => [container.id, container]));
    this.#observer.keep(new Set(this.#engine.keys()));
    const before = this.#observed;
    for (const id of this.#fresh.keys()) {
      // Refreshed since this look began: that is newer.
      const newer = before.get(id);
      if (newer !== undefined && seen.has(id)) seen.set(id, newer);
    }
    this.#observed = seen;
    const diff = difference(before, seen);
    if (diff.changed.length > 0 || diff.gone.length > 0) {
      this.#version += 1;
      await this.#options.onDiff?.(diff);
    }
    // The others are told all the same; one that can't be looked at is a fault, not a silence.
    const fault = faults[0] ?? this.#options.source.fault;
    if (fault !== undefined) throw fault;
  }

  #isAsBefore(listed: readonly EngineContainer[]): boolean {
    if (listed.length !== this.#engine.size || listed.length !== this.#observed.size) return false;
    return listed.every(
      (container) => this.#engine.get(container.id) === container && this.#observer.isSame(container),
    );
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

function difference(
  before: ReadonlyMap<string, ObservedContainer>,
  now: ReadonlyMap<string, ObservedContainer>,
): ContainerDiff {
  const changed = [...now.values()].filter(({ id, sha256Hex }) => before.get(id)?.sha256Hex !== sha256Hex);
  return { changed: changed.map(({ bytes }) => bytes), gone: [...before.keys()].filter((id) => !now.has(id)) };
}
