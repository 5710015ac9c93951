import { create } from '@bufbuild/protobuf';
import { sha256 } from '../bytes/sha256.ts';
import { capabilitySet } from '../container/capability.ts';
import { parseCgroup } from '../container/cgroup.ts';
import { compareEnvironment } from '../container/environment.ts';
import { parseMountInfo } from '../container/mount-info.ts';
import type { ProcessStatus } from '../container/process-status.ts';
import { encodeContainer, makeContainer } from '../container/record.ts';
import type { UidExtent } from '../container/uid-map.ts';
import {
  type Container,
  EnvironmentNameSchema,
  IdExtentSchema,
  type Label,
  LabelSchema,
  type Mount,
} from '../proto/lacre/v1/record_pb.ts';
import { recordMounts } from './container-watch-mount.ts';
import { type ProcessSummary, summarizeProcesses } from './container-watch-process.ts';
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
}

/** What was read of the kernel, and of what else the record is made. */
interface Seen {
  readonly initStartTicks: bigint;
  readonly mounts: readonly Mount[];
  readonly processes: ProcessSummary;
  readonly uidMap: readonly UidExtent[];
  readonly hostNamespaces: readonly string[];
}

interface KnownMounts {
  readonly engine: EngineContainer;
  readonly raw: Buffer;
  readonly mounts: readonly Mount[];
}

interface KnownRecord {
  readonly engine: EngineContainer;
  readonly mounts: readonly Mount[];
  /** All else that the record is made of. */
  readonly facts: string;
  readonly observed: ObservedContainer;
}

/** A container is still being made while its first process has not what its configuration says, but no longer than this. */
const STARTING_SECONDS = 10;
const TICKS = 100;
const MAX_LABELS = 1024;
const MAX_LABEL_LENGTH = 4096;

/** Looks at containers; keeps of each what spares making the same record again. */
export class ContainerObserver {
  readonly #proc: Proc;
  readonly #mounts = new Map<string, KnownMounts>();
  readonly #records = new Map<string, KnownRecord>();

  constructor(proc: Proc) {
    this.#proc = proc;
  }

  /**
   * Looks at one container. Undefined: it has ended, is still being made, or its pid is another's now.
   * Throws the system's error, or container.malformed where something in it has no place in a record.
   */
  observe(engine: EngineContainer): ObservedContainer | undefined {
    try {
      return this.#observe(engine);
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  /** Drops what is kept of all containers but these. */
  keep(ids: ReadonlySet<string>): void {
    for (const known of [this.#mounts, this.#records]) {
      for (const id of known.keys()) if (!ids.has(id)) known.delete(id);
    }
  }

  #observe(engine: EngineContainer): ObservedContainer | undefined {
    const proc = this.#proc;
    const pid = engine.initPid;
    // A process that has at the end the start time of an earlier look was it all the while.
    const initStartTicks = this.#knownStart(engine) ?? proc.startTicks(pid);
    const owner = parseCgroup(proc.cgroupText(pid));
    if (owner?.containerId !== engine.id) return undefined;
    const status = proc.status(pid);
    const uidMap = proc.uidMap(pid);
    const namespaces = proc.namespaces(pid);
    if (isStarting(engine, status, uidMap.length, initStartTicks, proc)) return undefined;
    const seen = {
      initStartTicks,
      mounts: this.#mountsOf(engine),
      processes: summarizeProcesses(proc, status, owner.path),
      uidMap,
      hostNamespaces: NAMESPACES.filter((kind) => namespaces[kind] === proc.hostNamespaces()[kind]),
    };
    const observed = this.#recorded(engine, seen, namespaces);
    if (proc.startTicks(pid) === initStartTicks) return observed;
    this.#records.delete(engine.id);
    return undefined;
  }

  #knownStart(engine: EngineContainer): bigint | undefined {
    const known = this.#records.get(engine.id);
    return known?.engine === engine ? known.observed.initStartTicks : undefined;
  }

  /** The record, made anew only where something is not as it was. */
  #recorded(engine: EngineContainer, seen: Seen, namespaces: Namespaces): ObservedContainer {
    const { initStartTicks, mounts, processes, uidMap, hostNamespaces } = seen;
    const ids = uidMap.flatMap(({ inside, outside, length }) => [inside, outside, length]);
    const sets = [Object.values(processes), ids, Object.values(namespaces), hostNamespaces];
    const facts = [initStartTicks, ...sets.map((set) => set.join(' '))].join('|');
    const known = this.#records.get(engine.id);
    if (known?.engine === engine && known.mounts === mounts && known.facts === facts) return known.observed;
    const container = recordOf(engine, seen);
    const bytes = encodeContainer(container);
    const { id, initPid } = engine;
    const observed = { id, initPid, initStartTicks, namespaces, container, bytes, sha256: sha256(bytes) };
    this.#records.set(id, { engine, mounts, facts, observed });
    return observed;
  }

  #mountsOf(engine: EngineContainer): readonly Mount[] {
    const raw = this.#proc.mountInfo(engine.initPid);
    const known = this.#mounts.get(engine.id);
    if (known?.engine === engine && known.raw.equals(raw)) return known.mounts;
    const mounts = recordMounts(parseMountInfo(raw), engine);
    this.#mounts.set(engine.id, { engine, raw, mounts });
    return mounts;
  }
}

function recordOf(engine: EngineContainer, seen: Seen): Container {
  const { processes } = seen;
  const { config } = engine;
  return makeContainer({
    id: engine.id,
    sandboxId: engine.sandboxId,
    engine: engine.engine,
    name: engine.name,
    initStartTicks: seen.initStartTicks,
    imageName: engine.imageName,
    manifestDigest: engine.manifestDigest,
    configDigest: engine.configDigest,
    argv: [...config.argv],
    cwd: config.cwd,
    uid: config.uid,
    gid: config.gid,
    environment: compareEnvironment(config.environment, engine.imageEnvironment).map((entry) =>
      create(EnvironmentNameSchema, entry),
    ),
    mounts: [...seen.mounts],
    capabilities: processes.capabilities,
    boundingCapabilities: processes.bounding,
    seccompMode: processes.seccompMode,
    seccompSha256: config.seccomp?.sha256 ?? new Uint8Array(),
    seccompDeniesUserns: config.seccomp?.deniesUserns ?? false,
    noNewPrivs: processes.noNewPrivs,
    devices: [...new Set(config.devices)].sort(compare),
    hostNamespaces: [...seen.hostNamespaces],
    uidMap: seen.uidMap.map((extent) => create(IdExtentSchema, extent)),
    privileged: config.privileged,
    execSessions: processes.execSessions,
    rootReadOnly: seen.mounts.findLast((mount) => mount.target === '/')?.readOnly ?? false,
    labels: recordLabels(engine.labels),
    hasFuseDevice: config.devices.includes('/dev/fuse'),
  });
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

/** Sorted; labels over the record's bounds are left out: they select nothing then. */
function recordLabels(labels: ReadonlyMap<string, string>): Label[] {
  return [...labels]
    .filter(([name, value]) => name.length <= MAX_LABEL_LENGTH && value.length <= MAX_LABEL_LENGTH)
    .filter(([name, value]) => !`${name}${value}`.includes('\0'))
    .sort(([a], [b]) => compare(a, b))
    .slice(0, MAX_LABELS)
    .map(([name, value]) => create(LabelSchema, { name, value }));
}

/** By code units: the record's order. */
function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
