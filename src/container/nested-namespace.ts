import type { NodeObservation } from '../proto/lacre/v1/record_pb.ts';
import { CAP } from './capability.ts';
import { mayHave } from './closedness.ts';
import type { ClaimedContainer } from './record.ts';

/** Which measure keeps a container's processes from user namespaces of their own. */
export type NestedDenial = 'sysctl' | 'seccomp' | 'max-user-namespaces';

/**
 * What denies nested user namespaces to a container, by the node's claims; undefined: nothing that is known to. Inside
 * one a process could give files any owner, and so make entries in another's range (DESIGN section 5). Any of:
 * kernel.unprivileged_userns_clone=0 (of Debian's kernels; not for a privileged process in the first namespace), a
 * seccomp profile without CLONE_NEWUSER on every process, or user.max_user_namespaces=0 inside, where no process can
 * set it back.
 */
export function nestedDenial(container: ClaimedContainer, observation: NodeObservation): NestedDenial | undefined {
  const { claim } = container;
  const inFirstNamespace = claim.hostNamespaces.includes('user');
  // Values are kept plus one: 0 says that the kernel has no such setting, or that it isn't known.
  if (observation.unprivilegedUsernsClone === 1 && !(inFirstNamespace && mayHave(container, CAP.SYS_ADMIN))) {
    return 'sysctl';
  }
  if (claim.seccompDeniesUserns && claim.seccompMode === 2) return 'seccomp';
  const canSetBack = inFirstNamespace || claim.privileged || mayHave(container, CAP.SYS_RESOURCE);
  return claim.maxUserNamespaces === 1n && !canSetBack ? 'max-user-namespaces' : undefined;
}
