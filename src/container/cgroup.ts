import { LacreError } from '../lacre-error.ts';

export type EngineName = 'podman' | 'docker' | 'containerd' | 'cri-o';

/** Whose process it is, by its cgroup. */
export interface CgroupOwner {
  readonly engine: EngineName;
  readonly containerId: string;
  /** The container's own cgroup: its processes may be in others below. */
  readonly path: string;
}

const MAX_LINES = 64;
/**
 * Names of a container's cgroup, with the engines' cgroupfs and systemd drivers: podman's `libpod-ID` (never
 * `libpod-conmon-ID`, which is the engine's own), docker's, containerd's as Kubernetes has it, CRI-O's.
 */
const NAMED: readonly (readonly [RegExp, EngineName])[] = [
  [/^libpod-([0-9a-f]{64})(?:\.scope)?$/, 'podman'],
  [/^docker-([0-9a-f]{64})\.scope$/, 'docker'],
  [/^cri-containerd-([0-9a-f]{64})\.scope$/, 'containerd'],
  [/^crio-([0-9a-f]{64})(?:\.scope)?$/, 'cri-o'],
];
const BARE = /^[0-9a-f]{64}$/;
const ID_LENGTH = 64;
/** Folder of the cgroups of podman's pods, which are named by bare ids as docker's and containerd's containers are. */
const PODMAN_PARENT = 'libpod_parent';

/**
 * The container of a process from /proc/PID/cgroup, cgroup version 2 (cgroups(7)): the line of hierarchy 0. The path's
 * first component that is a container's counts, so a cgroup which a container makes below its own, whatever its name,
 * leads back to it. Undefined: in no container of a known engine.
 *
 * The kernel's word: a process in a container can't leave its cgroup unless it may write to the host's cgroup tree. A
 * process of the host can put itself into any cgroup, so namespaces must be compared as well.
 * Throws container.proc.malformed.
 */
export function parseCgroup(text: string): CgroupOwner | undefined {
  const lines = text.split('\n').filter((line) => line !== '');
  if (lines.length > MAX_LINES) throw malformed(`${lines.length} lines`);
  const unified = lines.filter((line) => line.startsWith('0::'));
  const [line, ...more] = unified;
  if (line === undefined || more.length > 0) throw malformed('there is not exactly one line of cgroup version 2');
  const path = line.slice(3);
  if (!path.startsWith('/')) throw malformed('the path is not absolute');
  const components = path.split('/');
  for (const [at, component] of components.entries()) {
    const owner = ownerOf(component, components[at - 1] ?? '');
    if (owner !== undefined) return { ...owner, path: components.slice(0, at + 1).join('/') };
  }
  return undefined;
}

function ownerOf(component: string, parent: string): Omit<CgroupOwner, 'path'> | undefined {
  if (component.length < ID_LENGTH) return undefined;
  for (const [form, engine] of NAMED) {
    const containerId = form.exec(component)?.[1];
    if (containerId !== undefined) return { engine, containerId };
  }
  if (!BARE.test(component) || parent === PODMAN_PARENT) return undefined;
  return { engine: parent === 'docker' ? 'docker' : 'containerd', containerId: component };
}

function malformed(what: string): LacreError {
  return new LacreError('container.proc.malformed', `/proc/PID/cgroup is malformed: ${what}`);
}
