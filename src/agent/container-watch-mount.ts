import { create } from '@bufbuild/protobuf';
import { isDeviceNode } from '../container/closedness.ts';
import type { MountLine } from '../container/mount-info.ts';
import { type Mount, MountSchema } from '../proto/lacre/v1/record_pb.ts';
import type { OciMount } from './podman-config.ts';
import type { EngineContainer, EngineGround } from './podman-source.ts';

const KERNEL_TYPES: ReadonlySet<string> = new Set([
  ...['proc', 'sysfs', 'cgroup', 'cgroup2', 'devpts', 'mqueue', 'securityfs', 'debugfs', 'tracefs', 'bpf'],
]);
/** Sockets through which an engine takes commands. */
const ENGINE_SOCKETS = [
  ...['/run/podman/podman.sock', '/run/docker.sock', '/run/containerd/containerd.sock', '/run/crio/crio.sock'],
  '/run/containerd/containerd.sock.ttrpc',
];

/** What the record says of a container's mounts: the kernel's lines, and where the engine says that each comes from. */
export function recordMounts(lines: readonly MountLine[], container: EngineContainer): Mount[] {
  const told = new Map(container.config.mounts.map((mount) => [mount.destination, mount]));
  return lines.map((line) => {
    const mount = create(MountSchema, {
      target: line.target,
      type: line.type,
      root: line.root,
      readOnly: line.options.includes('ro'),
      noexec: line.options.includes('noexec'),
      superOptions: line.type === 'tmpfs' ? line.superOptions.join(',') : '',
      peer: line.device,
    });
    mount.sourceKind = sourceKind(mount, told.get(line.target), container.ground);
    return mount;
  });
}

function sourceKind(mount: Mount, told: OciMount | undefined, ground: EngineGround): string {
  if (mount.target === '/') return 'root';
  if (told !== undefined && commandsEngine(told.source, ground)) return 'engine-socket';
  if (KERNEL_TYPES.has(mount.type)) return 'kernel';
  if (isDeviceNode(mount)) return 'engine';
  if (told === undefined || told.type !== 'bind') return mount.type === 'tmpfs' ? 'tmpfs' : 'bind';
  if (ground.own.some((folder) => within(told.source, folder))) return 'engine';
  return ground.volumes.some((folder) => within(told.source, folder)) ? 'volume' : 'bind';
}

/** Whether a source on the host is an engine's socket or storage, or a folder in which one of them lies. */
function commandsEngine(source: string, { own, state, volumes, sockets }: EngineGround): boolean {
  if (!source.startsWith('/')) return false;
  const path = source.replace(/^\/var\/run(?=\/|$)/, '/run');
  if ([...ENGINE_SOCKETS, ...sockets].some((socket) => within(socket, path))) return true;
  if (own.some((folder) => within(path, folder))) return false;
  if (volumes.some((folder) => within(path, folder) && path !== folder)) return false;
  return state.some((folder) => within(path, folder) || within(folder, path));
}

/** Whether a path is a folder itself or lies in it. */
function within(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith('/') ? folder : `${folder}/`);
}
