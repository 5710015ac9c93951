import type { Mount } from '../proto/lacre/v1/record_pb.ts';
import { isDeviceNode, isExecutable } from './closedness.ts';
import type { ClaimedContainer } from './record.ts';

/** A mount of one container that another domain can reach too, so that one may execute what the other wrote. */
export interface SharedMount {
  readonly containerId: string;
  readonly target: string;
}

interface Use {
  readonly containerId: string;
  readonly domain: string;
  readonly mount: Mount;
  readonly writes: boolean;
  readonly executes: boolean;
}

/** File systems that hold no files of anybody's. */
const KERNEL_TYPES: ReadonlySet<string> = new Set(['proc', 'sysfs', 'cgroup', 'cgroup2', 'devpts', 'securityfs']);

/**
 * Mounts through which one domain can write what another executes: same file system, one's root within the other's.
 * Such an entry names the file's owner, not who ran it (DESIGN section 5). Where a third mounts a folder above both, all
 * below it counts as reachable. O(n log n) in the number of mounts.
 * @param domainOf key of a container's domain.
 */
export function sharedMounts(
  containers: readonly ClaimedContainer[],
  domainOf: (container: ClaimedContainer) => string,
): SharedMount[] {
  const common = commonDevices(containers, domainOf);
  const byDevice = new Map<string, Use[]>();
  for (const container of containers) {
    const domain = domainOf(container);
    for (const mount of container.claim.mounts) {
      if (!common.has(mount.peer)) continue;
      const use = useOf(container.claim.id, domain, mount);
      if (use === undefined) continue;
      const uses = byDevice.get(mount.peer);
      if (uses === undefined) byDevice.set(mount.peer, [use]);
      else uses.push(use);
    }
  }
  return [...byDevice.values()].flatMap((uses) => trees(uses).flatMap(conflicts));
}

/** File systems that more than one domain has a part of: most are one container's own. */
function commonDevices(
  containers: readonly ClaimedContainer[],
  domainOf: (container: ClaimedContainer) => string,
): Set<string> {
  const first = new Map<string, string>();
  const common = new Set<string>();
  for (const container of containers) {
    const domain = domainOf(container);
    for (const { peer } of container.claim.mounts) {
      const known = first.get(peer);
      if (known === undefined) first.set(peer, domain);
      else if (known !== domain) common.add(peer);
    }
  }
  return common;
}

function useOf(containerId: string, domain: string, mount: Mount): Use | undefined {
  if (KERNEL_TYPES.has(mount.type) || isDeviceNode(mount)) return undefined;
  const use = { containerId, domain, mount, writes: !mount.readOnly, executes: isExecutable(mount) };
  return use.writes || use.executes ? use : undefined;
}

/** Groups of uses of one file system: each root lies within the first of its group. */
function trees(uses: Use[]): Use[][] {
  const groups: Use[][] = [];
  let top = '';
  for (const use of uses.toSorted((a, b) => compare(folder(a.mount.root), folder(b.mount.root)))) {
    const root = folder(use.mount.root);
    const group = groups.at(-1);
    if (group !== undefined && root.startsWith(top)) group.push(use);
    else {
      groups.push([use]);
      top = root;
    }
  }
  return groups;
}

function conflicts(uses: readonly Use[]): SharedMount[] {
  const writers = new Set(uses.filter((use) => use.writes).map((use) => use.domain));
  const executors = new Set(uses.filter((use) => use.executes).map((use) => use.domain));
  const met = [...writers].some((writer) => executors.size > 1 || (executors.size === 1 && !executors.has(writer)));
  if (!met) return [];
  return uses.map(({ containerId, mount }) => ({ containerId, target: mount.target }));
}

/** With a slash at its end, so that `/ab` isn't within `/a`. */
function folder(root: string): string {
  return root.endsWith('/') ? root : `${root}/`;
}

function compare(a: string, b: string): number {
  return Number(a > b) - Number(a < b);
}
