import type { NodeObservation } from '../proto/lacre/v1/record_pb.ts';
import { CAP, HOST_POWERS } from './capability.ts';
import { hasFuse, isClosed, mayHave } from './closedness.ts';
import { nestedDenial } from './nested-namespace.ts';
import type { ClaimedContainer } from './record.ts';
import { sharedMounts } from './shared-mount.ts';
import { isIdentityMap, rangeKey, type UidRange } from './uid-map.ts';

/**
 * Whose an entry of a container is (DESIGN section 5). `exact`: of its uid range, and no other's. `shared`: of all
 * containers without a range together. `host`: the container can't be told from the host, or can hide what it runs.
 */
export type Attribution = 'exact' | 'shared' | 'host';

/** Why a container is less than exact, in the order in which they are looked for. */
export type ReasonCode =
  | 'privileged'
  | 'host-namespace'
  | 'host-powers'
  | 'engine-socket'
  | 'fuse'
  | 'uid-map-unknown'
  | 'range-overlap'
  | 'no-range'
  | 'several-extents'
  | 'below-pool'
  | 'inside-reach'
  | 'storage-driver'
  | 'shared-mount'
  | 'sandbox-ranges'
  | 'host-ipc'
  | 'nested-namespaces'
  | 'neighbour-nested-namespaces'
  | 'neighbour-gives-owners';

/** One reason: what takes `exact` away from `containerId`, in one sentence. */
export interface AttributionReason {
  readonly code: ReasonCode;
  readonly containerId: string;
  readonly detail: string;
}

/** By the node's claims alone. */
export interface Classification {
  readonly attribution: Attribution;
  /** Nothing but the root's files can be executed in it. */
  readonly closed: boolean;
  /** All of them; empty only where exact. */
  readonly reasons: readonly AttributionReason[];
}

export interface ClassifiedContainer extends Classification {
  readonly container: ClaimedContainer;
}

/** The containers that run at one time, and what was observed of their node. */
export interface NodeView {
  readonly containers: readonly ClaimedContainer[];
  readonly observation: NodeObservation;
  /** First uid of the pool that ranges are taken from (DESIGN section 4). */
  readonly uidPoolBase: number;
}

/** Reasons that make a container the host's. */
const HOST: ReadonlySet<ReasonCode> = new Set([
  'privileged',
  'host-namespace',
  'host-powers',
  'engine-socket',
  'fuse',
  'uid-map-unknown',
  'range-overlap',
]);
/** Reasons that lie in one container and end the exactness of all. */
const NODE_WIDE: ReadonlySet<ReasonCode> = new Set(['neighbour-nested-namespaces', 'neighbour-gives-owners']);
const ENGINE_SOCKETS = /(?:^|\/)(?:podman|docker|containerd|crio|buildkitd|cri-dockerd)\.sock$/;

export function isNodeWide(reason: AttributionReason): boolean {
  return NODE_WIDE.has(reason.code);
}

/** Classifies every container of a node together: what one may do bears on all. Keys are container ids. */
export function classifyContainers(view: NodeView): Map<string, ClassifiedContainer> {
  const own = new Map(
    view.containers.map((container) => [container.claim.id, { container, reasons: ownReasons(container, view) }]),
  );
  for (const reason of mutualReasons(view.containers)) own.get(reason.containerId)?.reasons.push(reason);
  const causes = neighbourReasons(view);
  return new Map(
    [...own].map(([id, { container, reasons: ofItself }]) => {
      const foreign = causes.find((cause) => cause.containerId !== id);
      const reasons = [...ofItself, ...(foreign === undefined ? [] : [{ ...foreign, containerId: id }])];
      const closed = isClosed(container, nestedDenial(container, view.observation) !== undefined);
      return [id, { container, attribution: attributionBy(reasons), closed, reasons }];
    }),
  );
}

/** What each container can do to the ranges of all others: their `containerId` is the one that can. */
export function neighbourReasons(view: NodeView): AttributionReason[] {
  return view.containers.flatMap((container) => neighbourReason(container, view) ?? []);
}

/** The attribution that is left with these reasons. */
export function attributionBy(reasons: readonly AttributionReason[]): Attribution {
  if (reasons.some(({ code }) => HOST.has(code))) return 'host';
  return reasons.length === 0 ? 'exact' : 'shared';
}

function ownReasons(container: ClaimedContainer, { observation, uidPoolBase }: NodeView): AttributionReason[] {
  const { claim } = container;
  const reasons: AttributionReason[] = [];
  const add = (code: ReasonCode, detail: string) => reasons.push({ code, containerId: claim.id, detail });
  const nested = nestedDenial(container, observation) === undefined;
  if (claim.privileged) add('privileged', 'it is privileged');
  for (const name of claim.hostNamespaces.filter((kind) => kind === 'mnt' || kind === 'pid')) {
    add('host-namespace', `it is in the host's ${name} namespace`);
  }
  if (!container.range && claim.hostNamespaces.includes('user') && mayHave(container, HOST_POWERS)) {
    add('host-powers', "it has capabilities of the host's root and no user namespace of its own");
  }
  for (const mount of claim.mounts.filter(isEngineSocket)) {
    add('engine-socket', `${mount.target} lets it command the container engine`);
  }
  if (hasFuse(container) && (nested || mayHave(container, CAP.SYS_ADMIN))) {
    add('fuse', 'it can mount FUSE, and so show IMA other content than it executes');
  }
  for (const [code, detail] of rangeReasons(container, uidPoolBase)) add(code, detail);
  if (rootType(container) !== 'overlay')
    add('storage-driver', `its root is ${rootType(container)}, not kernel overlay`);
  if (claim.hostNamespaces.includes('ipc')) add('host-ipc', "it is in the host's ipc namespace");
  if (nested) add('nested-namespaces', 'nothing keeps it from user namespaces of its own');
  return reasons;
}

function rangeReasons({ claim, range }: ClaimedContainer, uidPoolBase: number): [ReasonCode, string][] {
  const map = claim.uidMap;
  if (map.length === 0) return [['uid-map-unknown', 'its uid map is not known']];
  if (isIdentityMap(map)) return [['no-range', "it uses the host's uids"]];
  const reasons: [ReasonCode, string][] = [];
  if (map.length > 1) reasons.push(['several-extents', `its uid map has ${map.length} extents`]);
  if (range !== undefined && range.base < uidPoolBase) {
    reasons.push(['below-pool', `its uids begin at ${range.base}, below the pool's base ${uidPoolBase}`]);
  }
  if (reachesPool({ claim }, uidPoolBase)) {
    reasons.push(['inside-reach', `its uids inside reach the pool's base ${uidPoolBase}`]);
  }
  return reasons;
}

/** On a tmpfs mounted inside, IMA logs ids as they are inside: they must not look like somebody's range. */
function reachesPool({ claim }: Pick<ClaimedContainer, 'claim'>, uidPoolBase: number): boolean {
  return !isIdentityMap(claim.uidMap) && claim.uidMap.some(({ inside, length }) => inside + length > uidPoolBase);
}

/** Reasons that lie between two containers. */
function mutualReasons(containers: readonly ClaimedContainer[]): AttributionReason[] {
  const domainOf = ({ range }: ClaimedContainer) => rangeKey(range);
  const shared = sharedMounts(containers, domainOf).map(({ containerId, target }) => ({
    code: 'shared-mount' as const,
    containerId,
    detail: `${target} is shared with another range: what one writes the other may execute`,
  }));
  return [...shared, ...overlapping(containers), ...sandboxReasons(containers)];
}

/** Containers whose range overlaps another one without being the same. O(n log n) in their number. */
function overlapping(containers: readonly ClaimedContainer[]): AttributionReason[] {
  const distinct = new Map(containers.filter(hasRange).map(({ range }) => [rangeKey(range), range]));
  const ranges = [...distinct.values()].toSorted((a, b) => a.base - b.base);
  const hit = new Set<string>();
  let reach = 0;
  for (const [index, range] of ranges.entries()) {
    const next = ranges[index + 1];
    if (range.base < reach || (next !== undefined && next.base < end(range))) hit.add(rangeKey(range));
    reach = Math.max(reach, end(range));
  }
  return containers
    .filter(({ range }) => hit.has(rangeKey(range)))
    .map(({ claim }) => ({ code: 'range-overlap', containerId: claim.id, detail: 'its uid range overlaps another' }));
}

function sandboxReasons(containers: readonly ClaimedContainer[]): AttributionReason[] {
  const keys = new Map<string, Set<string>>();
  for (const { claim, range } of containers) {
    if (claim.sandboxId === '') continue;
    keys.set(claim.sandboxId, (keys.get(claim.sandboxId) ?? new Set()).add(rangeKey(range)));
  }
  return containers
    .filter(({ claim }) => (keys.get(claim.sandboxId)?.size ?? 0) > 1)
    .map(({ claim }) => ({
      code: 'sandbox-ranges',
      containerId: claim.id,
      detail: 'containers of its sandbox have different uid ranges',
    }));
}

/** What one container can do to the ranges of all others. */
function neighbourReason(container: ClaimedContainer, view: NodeView): AttributionReason | undefined {
  const { id, name } = container.claim;
  if (nestedDenial(container, view.observation) === undefined) {
    const detail = `nothing keeps container ${name || id} from user namespaces of its own, where files can have any owner`;
    return { code: 'neighbour-nested-namespaces', containerId: id, detail };
  }
  const hostUids = isIdentityMap(container.claim.uidMap);
  const givesAny = hostUids && mayHave(container, CAP.CHOWN | CAP.SETUID);
  if (givesAny || container.claim.uidMap.length > 1 || reachesPool(container, view.uidPoolBase)) {
    const detail = `container ${name || id} can make files whose owner is in another container's range`;
    return { code: 'neighbour-gives-owners', containerId: id, detail };
  }
  return undefined;
}

function isEngineSocket(mount: ClaimedContainer['claim']['mounts'][number]): boolean {
  return mount.sourceKind === 'engine-socket' || ENGINE_SOCKETS.test(mount.root) || ENGINE_SOCKETS.test(mount.target);
}

/** The type of what is mounted last on the root. */
function rootType({ claim }: ClaimedContainer): string {
  return claim.mounts.findLast((mount) => mount.target === '/')?.type ?? 'unknown';
}

type RangedContainer = ClaimedContainer & { readonly range: UidRange };

function hasRange(container: ClaimedContainer): container is RangedContainer {
  return container.range !== undefined;
}

function end({ base, length }: UidRange): number {
  return base + length;
}
