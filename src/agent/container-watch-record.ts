import { create } from '@bufbuild/protobuf';
import { compareEnvironment } from '../container/environment.ts';
import { makeContainer } from '../container/record.ts';
import type { UidExtent } from '../container/uid-map.ts';
import {
  type Container,
  EnvironmentNameSchema,
  IdExtentSchema,
  type Label,
  LabelSchema,
  type Mount,
} from '../proto/lacre/v1/record_pb.ts';
import type { ProcessSummary } from './container-watch-process.ts';
import type { EngineContainer } from './podman-source.ts';
import type { Namespaces } from './proc.ts';

/** What was read of the kernel, and of what else the record is made. */
export interface Seen {
  readonly initStartTicks: bigint;
  /** Raw mountinfo, and what it says. */
  readonly mountInfo: Buffer;
  readonly mounts: readonly Mount[];
  readonly processes: ProcessSummary;
  readonly uidMap: readonly UidExtent[];
  readonly namespaces: Namespaces;
  readonly hostNamespaces: readonly string[];
}

const MAX_LABELS = 1024;
const MAX_LABEL_LENGTH = 4096;

/** A container's record: the kernel's word where it has one, else the engine's. */
export function recordOf(engine: EngineContainer, seen: Seen): Container {
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
