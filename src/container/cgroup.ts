import { LacreError } from '../lacre-error.ts';

/** Whose process it is, by its cgroup. */
export interface CgroupOwner {
  readonly engine: 'podman';
  readonly containerId: string;
}

const MAX_LINES = 64;
/** `libpod-ID` (cgroupfs) or `libpod-ID.scope` (systemd); never `libpod-conmon-ID`, which is the engine's own. */
const LIBPOD = /^libpod-([0-9a-f]{64})(?:\.scope)?$/;

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
  for (const component of path.split('/')) {
    const containerId = LIBPOD.exec(component)?.[1];
    if (containerId !== undefined) return { engine: 'podman', containerId };
  }
  return undefined;
}

function malformed(what: string): LacreError {
  return new LacreError('container.proc.malformed', `/proc/PID/cgroup is malformed: ${what}`);
}
