import { toHex } from '../bytes/hex.ts';
import { sha256 } from '../bytes/sha256.ts';
import { capabilitySet } from '../container/capability.ts';
import { parseCgroup } from '../container/cgroup.ts';
import { parseMountInfo } from '../container/mount-info.ts';
import type { ProcessStatus } from '../container/process-status.ts';
import { encodeContainer } from '../container/record.ts';
import type { Container, Mount } from '../proto/lacre/v1/record_pb.ts';
import { ContainerPin } from './container-pin.ts';
import { Round } from './container-round.ts';
import { ContainerSweep } from './container-sweep.ts';
import { recordMounts } from './container-watch-mount.ts';
import { MAX_PROCESSES, readProcesses, type SeenProcesses } from './container-watch-process.ts';
import { recordOf, type Seen } from './container-watch-record.ts';
import type { Native } from './native.ts';
import type { EngineContainer } from './podman-source.ts';
import { isMissing, NAMESPACES, type Namespaces, type Proc } from './proc.ts';

/** A running container as it was seen at one moment: the kernel's word where it has one, else the engine's. */
export interface ObservedContainer {
  readonly id: string;
  readonly initPid: number;
  readonly initStartTicks: bigint;
  readonly namespaces: Namespaces;
  readonly container: Container;
  /** Canonical. */
  readonly bytes: Uint8Array;
  readonly sha256: Uint8Array;
  readonly sha256Hex: string;
  /** Of each of its processes, by pid, the pid of its parent. */
  readonly parents: ReadonlyMap<number, number>;
}

/** The last look at a container. */
interface Known {
  readonly engine: EngineContainer;
  readonly seen: Seen;
  /** All of it but engine and mounts, in one text. */
  readonly facts: string;
  readonly observed: ObservedContainer;
  readonly init: ProcessStatus;
  /** cgroup.procs at that look, and what was read of its processes; empty where they must be read again. */
  readonly procs: Buffer;
  readonly statuses: ReadonlyMap<number, ProcessStatus>;
  /** When everything is read again: performance.now(). */
  readonly wholeAtMs: number;
}

/** A container is still being made while its first process has not what its configuration says, but no longer than this. */
const STARTING_SECONDS = 10;
const TICKS = 100;
/** Mounts and processes of each container are read again once in this time, and compared. */
const CHECK_EVERY_MS = 60_000;
/** Everything is read again after at most this time and the one above, each container at another moment. */
const WHOLE_EVERY_MS = 600_000;
/** A runtime moves the process that it made for a container into its cgroup within this time. */
const JOINS_WITHIN_MS = 10_000;
/** Each costs four descriptors; the containers beyond are read whole each time. */
const MAX_PINS = 1024;
/** No more than an eighth of this process's descriptors. */
const DESCRIPTORS_PER_PIN = 8 * 4;
/** The statuses of more processes than this are not kept. */
const MAX_KEPT_STATUSES = 64;
const NO_PROCS = Buffer.alloc(0);
const NO_STATUSES: ReadonlyMap<number, ProcessStatus> = new Map();

/**
 * Looks at containers. Where the native part is given, a container whose first process, mounts and processes are those
 * of the last look is as it was then; at times everything is read again nevertheless.
 */
export class ContainerObserver {
  readonly #proc: Proc;
  readonly #native: Native | undefined;
  readonly #maxPins: number;
  readonly #known = new Map<string, Known>();
  readonly #pins = new Map<string, ContainerPin>();
  readonly #sweep: ContainerSweep | undefined;
  /** Containers that are not as at their last look, and whether more than their processes may be different. */
  readonly #changed = new Map<string, boolean>();
  /** Which is checked next. */
  readonly #round = new Round(this.#pins, CHECK_EVERY_MS, performance.now());
  #lastPid: number | undefined;
  #newProcessAtMs = Number.NEGATIVE_INFINITY;

  constructor(proc: Proc, native?: Native) {
    this.#proc = proc;
    this.#native = native;
    this.#sweep = native === undefined ? undefined : new ContainerSweep(native);
    this.#maxPins =
      native === undefined ? 0 : Math.min(MAX_PINS, Math.trunc(proc.descriptorLimit() / DESCRIPTORS_PER_PIN));
  }

  /**
   * Looks at one container. Undefined: it has ended, is still being made, or its pid is another's now.
   * Throws the system's error, or container.malformed where something in it has no place in a record.
   * @param process of the container, which was read a moment ago
   */
  observe(engine: EngineContainer, process?: ProcessStatus): ObservedContainer | undefined {
    try {
      return this.#glance(engine, process) ?? this.#observe(engine);
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  /**
   * Looks at all that are held, a few microseconds each: whether they are as at their last look (`same`), or some have other
   * processes, or more may be different.
   */
  sweep(): 'same' | 'processes' | 'more' {
    this.#sweep?.look(this.#hasNewProcess(), (id, isWhole) => this.#change(id, isWhole));
    this.#checkInTurn();
    if (this.#changed.size === 0) return 'same';
    return [...this.#changed.values()].includes(true) ? 'more' : 'processes';
  }

  /** How many containers the sweep looks at: `same` is said of these alone. */
  get sweptCount(): number {
    return this.#sweep?.comparedCount ?? 0;
  }

  /** Whether the last sweep found this container as it was at its last look, which was not too long ago. */
  isSame(engine: EngineContainer): boolean {
    const { id } = engine;
    return this.#sweep?.isCompared(id) === true && !this.#changed.has(id) && this.#known.get(id)?.engine === engine;
  }

  /** Whether this first process, which was seen before, still lives; false where that isn't known. */
  isAlive({ id, initPid }: EngineContainer): boolean {
    const pin = this.#pins.get(id);
    if (pin?.initPid !== initPid || !this.#known.has(id)) return false;
    return (this.#changed.get(id) !== true && this.#sweep?.isCompared(id)) || pin.isAlive();
  }

  /** Drops what is kept of all containers but these. */
  keep(ids: ReadonlySet<string>): void {
    for (const id of [...this.#known.keys(), ...this.#pins.keys()]) if (!ids.has(id)) this.#drop(id);
  }

  /** Lets go of all containers. */
  close(): void {
    this.keep(new Set());
  }

  /** A change is told once, and must not be forgotten where the look at it fails. */
  #change(id: string, isWhole: boolean): void {
    const known = this.#known.get(id);
    if (known === undefined) return;
    this.#changed.set(id, isWhole || this.#changed.get(id) === true);
    if (isWhole) this.#known.set(id, { ...known, wholeAtMs: Number.NEGATIVE_INFINITY });
  }

  /** Whether a process was made on the node of late: without one, none comes into a container. */
  #hasNewProcess(): boolean {
    const last = this.#proc.lastPid();
    if (last === undefined || last !== this.#lastPid) this.#newProcessAtMs = performance.now();
    this.#lastPid = last;
    return performance.now() - this.#newProcessAtMs < JOINS_WITHIN_MS;
  }

  /**
   * What the kernel doesn't tell: a file system that was made read-only or writable through another mount namespace, a
   * process that the host's root moved into the container's cgroup.
   */
  #checkInTurn(): void {
    const now = performance.now();
    for (const id of this.#round.due(now)) {
      const [known, pin] = [this.#known.get(id), this.#pins.get(id)];
      if (known === undefined || pin === undefined || this.#sweep?.isCompared(id) !== true) continue;
      const isSame = pin.look()?.equals(known.procs) === true && pin.hasMounts(known.seen.mountInfo);
      if (now > known.wholeAtMs || !isSame) this.#change(id, true);
    }
  }

  /** The container of the last look, if nothing but its processes is different; undefined: look at all of it. */
  #glance(engine: EngineContainer, process: ProcessStatus | undefined): ObservedContainer | undefined {
    const known = this.#known.get(engine.id);
    const pin = this.#pins.get(engine.id);
    if (known?.engine !== engine || pin === undefined || performance.now() > known.wholeAtMs) return undefined;
    const procs = pin.look();
    if (procs?.equals(known.procs)) {
      this.#changed.delete(engine.id);
      return known.observed;
    }
    this.#change(engine.id, true);
    if (procs === undefined || known.procs.length === 0) return undefined;
    const now = { ...known, procs: Buffer.from(procs) };
    const { seen, init } = known;
    // The parent of one whose own has ended is another now.
    const kept = new Set(pidsOf(now.procs));
    const all = [...known.statuses.values(), ...(process === undefined ? [] : [process])];
    const current = all.filter(({ pid, parentPid }) => kept.has(pid) && kept.has(parentPid));
    const statuses = new Map(current.map((status) => [status.pid, status]));
    const read = readProcesses(this.#proc, init, [...kept], statuses);
    if (!read.isFamily || !kept.has(init.pid) || !pin.isAlive()) return undefined;
    return this.#remember({ ...now, seen: { ...seen, processes: read.summary } }, read);
  }

  #observe(engine: EngineContainer): ObservedContainer | undefined {
    const proc = this.#proc;
    const pid = engine.initPid;
    const initStartTicks = proc.startTicks(pid);
    const owner = parseCgroup(proc.cgroupText(pid));
    if (owner?.containerId !== engine.id) return this.#drop(engine.id);
    const pin = this.#pin(engine, owner.path);
    // What comes while the rest is read makes the next glance a look.
    const procs = Buffer.from(pin?.look() ?? NO_PROCS);
    const init = proc.status(pid);
    const uidMap = proc.uidMap(pid);
    const namespaces = proc.namespaces(pid);
    if (isStarting(engine, init, uidMap.length, initStartTicks, proc)) return this.#drop(engine.id);
    const mountInfo = proc.mountInfo(pid);
    const read = readProcesses(proc, init, proc.processesOf(owner.path, MAX_PROCESSES));
    const seen = {
      initStartTicks,
      mountInfo,
      mounts: this.#mountsOf(engine, mountInfo),
      processes: read.summary,
      uidMap,
      namespaces,
      hostNamespaces: NAMESPACES.filter((kind) => namespaces[kind] === proc.hostNamespaces()[kind]),
    };
    if (proc.startTicks(pid) !== initStartTicks) return this.#drop(engine.id);
    const wholeAtMs = performance.now() + WHOLE_EVERY_MS * (0.5 + Math.random() / 2);
    return this.#remember({ engine, seen, init, procs, wholeAtMs }, read);
  }

  /** The record, made anew only where something is not as it was. */
  #remember(
    look: Omit<Known, 'facts' | 'observed' | 'statuses'>,
    { isFamily, statuses }: SeenProcesses,
  ): ObservedContainer {
    const { engine, seen } = look;
    const facts = factsOf(seen);
    const known = this.#known.get(engine.id);
    const isSame = known?.engine === engine && known.seen.mounts === seen.mounts && known.facts === facts;
    const parents = new Map([...statuses.values()].map(({ pid, parentPid }) => [pid, parentPid]));
    const observed = isSame ? { ...known.observed, parents } : { ...observedOf(engine, seen), parents };
    const procs = isFamily ? look.procs : NO_PROCS;
    this.#changed.delete(engine.id);
    this.#sweep?.expect(engine.id, procs);
    this.#known.set(engine.id, {
      ...look,
      procs,
      statuses: statuses.size > MAX_KEPT_STATUSES ? NO_STATUSES : statuses,
      facts,
      observed,
    });
    return observed;
  }

  /** Of the process that has the pid now: its start time is read before and after. */
  #pin({ id, initPid }: EngineContainer, cgroup: string): ContainerPin | undefined {
    const former = this.#pins.get(id);
    if (former?.initPid === initPid && former.cgroup === cgroup && former.isAlive()) return former;
    this.#drop(id);
    if (this.#native === undefined || this.#pins.size >= this.#maxPins) return undefined;
    try {
      const pin = ContainerPin.open(initPid, cgroup, this.#proc, this.#native);
      this.#pins.set(id, pin);
      this.#sweep?.enter(id, pin.descriptors);
      return pin;
    } catch (error) {
      // Without descriptors, or on a kernel that refuses one, it is read whole.
      this.#drop(id);
      if (isMissing(error)) throw error;
      return undefined;
    }
  }

  #drop(id: string): undefined {
    this.#sweep?.leave(id);
    this.#changed.delete(id);
    this.#known.delete(id);
    this.#pins.get(id)?.close();
    this.#pins.delete(id);
  }

  #mountsOf(engine: EngineContainer, raw: Buffer): readonly Mount[] {
    const known = this.#known.get(engine.id);
    if (known?.engine === engine && known.seen.mountInfo.equals(raw)) return known.seen.mounts;
    return recordMounts(parseMountInfo(raw), engine);
  }
}

function pidsOf(procs: Buffer): number[] {
  return procs
    .toString('latin1')
    .split('\n')
    .filter((line) => line !== '')
    .map(Number);
}

function factsOf({ initStartTicks, processes, uidMap, namespaces, hostNamespaces }: Seen): string {
  const ids = uidMap.flatMap(({ inside, outside, length }) => [inside, outside, length]);
  const sets = [Object.values(processes), ids, Object.values(namespaces), hostNamespaces];
  return [initStartTicks, ...sets.map((set) => set.join(' '))].join('|');
}

function observedOf(engine: EngineContainer, seen: Seen): Omit<ObservedContainer, 'parents'> {
  const container = recordOf(engine, seen);
  const bytes = encodeContainer(container);
  const digest = sha256(bytes);
  const { initStartTicks, namespaces } = seen;
  const { id, initPid } = engine;
  return { id, initPid, initStartTicks, namespaces, container, bytes, sha256: digest, sha256Hex: toHex(digest) };
}

/** The runtime's own process becomes the container's first one: until then it has other capabilities and no filter. */
function isStarting(
  { config }: EngineContainer,
  status: ProcessStatus,
  extents: number,
  startTicks: bigint,
  proc: Proc,
): boolean {
  const unfiltered = config.seccomp !== undefined && status.seccompMode === 0;
  const unbound = config.bounding !== undefined && status.bounding !== capabilitySet(config.bounding);
  if (extents > 0 && !unfiltered && !unbound) return false;
  const age = proc.uptimeSeconds() - Number(startTicks) / TICKS;
  return age < STARTING_SECONDS;
}
