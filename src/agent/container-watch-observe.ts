import { create } from '@bufbuild/protobuf';
import { sha256 } from '../bytes/sha256.ts';
import { capabilitySet } from '../container/capability.ts';
import { parseCgroup } from '../container/cgroup.ts';
import { compareEnvironment } from '../container/environment.ts';
import type { ProcessStatus } from '../container/process-status.ts';
import { encodeContainer, makeContainer } from '../container/record.ts';
import {
  type Container,
  EnvironmentNameSchema,
  IdExtentSchema,
  type Label,
  LabelSchema,
} from '../proto/lacre/v1/record_pb.ts';
import { recordMounts } from './container-watch-mount.ts';
import { summarizeProcesses } from './container-watch-process.ts';
import type { EngineContainer, PodmanPlace } from './podman-source.ts';
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

/** A container is still being made while its first process has not what its configuration says, but no longer than this. */
const STARTING_SECONDS = 10;
const TICKS = 100;
const MAX_LABELS = 1024;
const MAX_LABEL_LENGTH = 4096;

/**
 * Looks at one container. Undefined: it has ended, is still being made, or its pid is another's now.
 * Rejects with the system's error, or container.malformed where something in it has no place in a record.
 */
export async function observeContainer(
  engine: EngineContainer,
  proc: Proc,
  place: PodmanPlace,
): Promise<ObservedContainer | undefined> {
  try {
    return await observe(engine, proc, place);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

async function observe(
  engine: EngineContainer,
  proc: Proc,
  place: PodmanPlace,
): Promise<ObservedContainer | undefined> {
  const pid = engine.initPid;
  const initStartTicks = await proc.startTicks(pid);
  const cgroup = await proc.cgroupText(pid);
  if (parseCgroup(cgroup)?.containerId !== engine.id) return undefined;
  const [status, uidMap, lines, namespaces, host, fuse] = await Promise.all([
    proc.status(pid),
    proc.uidMap(pid),
    proc.mounts(pid),
    proc.namespaces(pid),
    proc.namespaces(1),
    proc.existsInside(pid, '/dev/fuse'),
  ]);
  if (await isStarting(engine, status, uidMap.length, initStartTicks, proc)) return undefined;
  const processes = await summarizeProcesses(proc, status, containerCgroup(cgroup, engine.id));
  const { config } = engine;
  const container = makeContainer({
    id: engine.id,
    sandboxId: engine.sandboxId,
    engine: 'podman',
    name: engine.name,
    initStartTicks,
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
    mounts: recordMounts(lines, engine, place),
    capabilities: processes.capabilities,
    boundingCapabilities: processes.bounding,
    seccompMode: processes.seccompMode,
    seccompSha256: config.seccomp?.sha256 ?? new Uint8Array(),
    seccompDeniesUserns: config.seccomp?.deniesUserns ?? false,
    noNewPrivs: processes.noNewPrivs,
    devices: [...new Set(config.devices)].sort(compare),
    hostNamespaces: NAMESPACES.filter((kind) => namespaces[kind] === host[kind]),
    uidMap: uidMap.map((extent) => create(IdExtentSchema, extent)),
    privileged: config.privileged,
    execSessions: processes.execSessions,
    rootReadOnly: lines.findLast((line) => line.target === '/')?.options.includes('ro') ?? false,
    labels: recordLabels(engine.labels),
    hasFuseDevice: fuse,
  });
  const bytes = encodeContainer(container);
  if ((await proc.startTicks(pid)) !== initStartTicks) return undefined;
  return { id: engine.id, initPid: pid, initStartTicks, namespaces, container, bytes, sha256: sha256(bytes) };
}

/** The runtime's own process becomes the container's first one: until then it has other capabilities and no filter. */
async function isStarting(
  { config }: EngineContainer,
  status: ProcessStatus,
  extents: number,
  startTicks: bigint,
  proc: Proc,
): Promise<boolean> {
  const unfiltered = config.seccomp !== undefined && status.seccompMode === 0;
  const unbound = config.bounding !== undefined && status.bounding !== capabilitySet(config.bounding);
  if (extents > 0 && !unfiltered && !unbound) return false;
  const age = (await proc.uptimeSeconds()) - Number(startTicks) / TICKS;
  return age < STARTING_SECONDS;
}

/** The container's own cgroup: its first process may be in one below. */
function containerCgroup(text: string, id: string): string {
  const path = text.split('\n').find((line) => line.startsWith('0::')) ?? '';
  const components = path.slice(3).split('/');
  const own = components.findIndex((component) => component === `libpod-${id}` || component === `libpod-${id}.scope`);
  return components.slice(0, own + 1).join('/');
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
