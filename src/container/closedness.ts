import type { Mount } from '../proto/lacre/v1/record_pb.ts';
import { CAP } from './capability.ts';
import type { ClaimedContainer } from './record.ts';

/** Roots of devtmpfs mounts that are a device node, which nothing can be executed from. */
const DEVICE_NODES: ReadonlySet<string> = new Set(['/null', '/zero', '/full', '/tty', '/random', '/urandom']);

/** A device node that an engine binds into a container, or uses to mask a file of /proc. */
export function isDeviceNode(mount: Mount): boolean {
  return mount.type === 'devtmpfs' && DEVICE_NODES.has(mount.root);
}

/** What an engine masks or makes read-only without noexec: proc, sysfs, or a tmpfs that can hold nothing. */
function isMask(mount: Mount): boolean {
  if (!mount.readOnly) return false;
  if (mount.type === 'proc' || mount.type === 'sysfs') return true;
  return mount.type === 'tmpfs' && mount.superOptions.split(',').includes('size=0k');
}

/** Whether a file could be executed from a mount. */
export function isExecutable(mount: Mount): boolean {
  return !mount.noexec && !isDeviceNode(mount) && !isMask(mount);
}

/**
 * Mounts besides the root from which something can be executed: an entry of theirs carries no uid range (DESIGN
 * section 5).
 */
export function openMounts(mounts: readonly Mount[]): Mount[] {
  return mounts.filter((mount) => mount.target !== '/' && isExecutable(mount));
}

/** Whether /dev/fuse is there: its owner can show IMA one content and execute another (DESIGN section 3.15). */
export function hasFuse({ claim }: ClaimedContainer): boolean {
  return (
    claim.hasFuseDevice ||
    claim.devices.includes('/dev/fuse') ||
    claim.mounts.some((mount) => mount.type === 'devtmpfs' && (mount.root === '/fuse' || mount.root === '/'))
  );
}

/** Whether a process has, or a setuid file could give it, one of these capabilities in its own user namespace. */
export function mayHave({ claim }: ClaimedContainer, capabilities: bigint): boolean {
  return ((claim.capabilities | claim.boundingCapabilities) & capabilities) !== 0n;
}

/**
 * Whether nothing but the root's files can be executed, and no process can change that: so an unattributed entry of a
 * bad file can't be this container's doing. By the node's claims.
 * @param nestedDenied whether its processes are kept from user namespaces of their own.
 */
export function isClosed(container: ClaimedContainer, nestedDenied: boolean): boolean {
  return (
    nestedDenied &&
    !container.claim.privileged &&
    !mayHave(container, CAP.SYS_ADMIN) &&
    !hasFuse(container) &&
    openMounts(container.claim.mounts).length === 0
  );
}
