import { closeSync } from 'node:fs';
import type { CgroupOwner } from '../container/cgroup.ts';
import { encodeProcessRecord } from '../container/process-record.ts';
import type { ProcessStatus } from '../container/process-status.ts';
import { isLacreError, LacreError } from '../lacre-error.ts';
import type { ObservedContainer } from './container-watch-observe.ts';
import type { Native, PeerCredentials } from './native.ts';
import { codeOf, isMissing, type Proc } from './proc.ts';
import type { ProcessFacts } from './process-facts.ts';

/** What a caller's container and kind were found to be: collected here, judged by the server. */
export interface Caller {
  readonly pid: number;
  /** Canonical bytes of the record: what a request carries. */
  readonly bytes: Uint8Array;
  readonly container: ObservedContainer;
}

/** A container as it is now; undefined: it is not there. */
export type Refreshed = ObservedContainer | undefined | Promise<ObservedContainer | undefined>;

export interface CallerSources {
  readonly proc: Proc;
  /** A container as it is now: ContainerWatch.refresh. */
  readonly refresh: (containerId: string, process?: ProcessStatus) => Refreshed;
}

const MAX_ANCESTORS = 4096;
/** Of a container's first process, that who is inside must be in. */
const NAMESPACES_WITHIN = ['user', 'mnt', 'pid'] as const;

/** A process, held by a pidfd: what has its pid later, when it has ended, is never taken for it. */
export class PinnedProcess {
  readonly pid: number;
  readonly #native: Native;
  #pidfd: number | undefined;

  protected constructor(native: Native, pid: number, pidfd: number) {
    this.pid = pid;
    this.#native = native;
    this.#pidfd = pidfd;
  }

  /**
   * The process that has this pid now, for those that are told a pid and no socket. Who told it must hold the process
   * that it means: a pid that was used anew before this call can't be told from it.
   * Throws agent.caller.ended, agent.caller.unreadable.
   */
  static ofPid(pid: number, native: Native): PinnedProcess {
    try {
      return new PinnedProcess(native, pid, native.pidfdOpen(pid));
    } catch (error) {
      throw callerFault(error, pid);
    }
  }

  /** What the kernel says of who has the pid now: of this process, if it is alive afterwards. Throws as Proc.facts does. */
  facts(proc: Proc): ProcessFacts {
    return proc.facts(this.pid, this.#native);
  }

  /** Throws agent.caller.ended once the process has ended, or the pin is closed. */
  requireAlive(): void {
    if (this.#pidfd === undefined || !this.#native.isAlive(this.#pidfd)) throw ended(this.pid);
  }

  /** Lets go of the process. Again: does nothing. */
  close(): void {
    if (this.#pidfd !== undefined) closeSync(this.#pidfd);
    this.#pidfd = undefined;
  }
}

/**
 * The process that connected to a unix socket, held for as long as the connection lives: another process that keeps the
 * socket is never taken for it. The pidfd comes from the socket itself where the kernel has that (Linux 6.5); before, it
 * is opened by pid, so it has to be made when the connection is accepted: only a pid that was used anew between connect
 * and accept could deceive it then.
 */
export class PinnedPeer extends PinnedProcess {
  /** As which it connected. */
  readonly uid: number;
  readonly gid: number;

  private constructor(native: Native, { pid, uid, gid }: PeerCredentials, pidfd: number) {
    super(native, pid, pidfd);
    this.uid = uid;
    this.gid = gid;
  }

  /**
   * @param fd of a socket just accepted; stays the caller's.
   * Throws agent.caller.ended, agent.caller.unreadable.
   */
  static open(fd: number, native: Native): PinnedPeer {
    let pid: number | undefined;
    try {
      const credentials = native.peerCredentials(fd);
      pid = credentials.pid;
      return new PinnedPeer(native, credentials, openPidfd(native, fd, pid));
    } catch (error) {
      throw callerFault(error, pid);
    }
  }
}

/**
 * In which container the peer lives, and how it came there. Everything that is read by pid counts only if the pinned
 * process still lives afterwards. What the process does later, or whom it hands the socket to, isn't known.
 * At once where its container is known: a promise for each caller of a crowd would cost more than what it waits for.
 *
 * Throws agent.caller.ended, agent.caller.not-in-container, agent.caller.engine (the engine knows no such container,
 * or does not answer), agent.caller.unreadable.
 */
export function identifyCaller(peer: PinnedProcess, { proc, refresh }: CallerSources): Caller | Promise<Caller> {
  try {
    const { owner, ...facts } = peer.facts(proc);
    if (owner === undefined) {
      const sentence = `process ${peer.pid} runs in no container of a known engine; only containers get identities`;
      throw new LacreError('agent.caller.not-in-container', sentence, { pid: peer.pid });
    }
    const finish = (container: ObservedContainer | undefined) => callerIn(container, owner, peer, facts, proc);
    const container = refresh(owner.containerId, facts.status);
    if (!(container instanceof Promise)) return finish(container);
    return container.then(finish).catch((error: unknown) => {
      throw faultAt(peer, error);
    });
  } catch (error) {
    throw faultAt(peer, error);
  }
}

/** A pidfd from the socket, or where the kernel can't give one, of the process that has the peer's pid now. */
function openPidfd(native: Native, fd: number, pid: number): number {
  try {
    return native.peerPidfd(fd);
  } catch (error) {
    // EINVAL: the process has ended, and was reaped (Linux before 6.9).
    if (codeOf(error) === 'EINVAL') throw ended(pid);
    if (codeOf(error) !== 'ENOPROTOOPT') throw error;
  }
  return native.pidfdOpen(pid);
}

/** Throws agent.caller.ended, agent.caller.engine. */
function callerIn(
  container: ObservedContainer | undefined,
  owner: CgroupOwner,
  peer: PinnedProcess,
  { startTicks, status, executable, namespaces }: Omit<ProcessFacts, 'owner'>,
  proc: Proc,
): Caller {
  if (container === undefined) {
    const sentence = `${owner.engine} has no running container ${owner.containerId.slice(0, 12)}, in whose cgroup process ${peer.pid} is`;
    throw new LacreError('agent.caller.engine', sentence, { pid: peer.pid, containerId: owner.containerId });
  }
  const inside = NAMESPACES_WITHIN.every((kind) => namespaces[kind] === container.namespaces[kind]);
  const descends = descendsFromInit(proc, status, container);
  const { uid, gid } = peer instanceof PinnedPeer ? peer : status;
  const bytes = encodeProcessRecord(container, {
    uid,
    gid,
    executable,
    isInitFamily: inside && descends,
    joinedByExec: !descends,
    startTicks,
  });
  peer.requireAlive();
  return { pid: peer.pid, bytes, container };
}

/**
 * Whether a process's parents lead to the container's first process: not so for what the engine brought in by exec. A
 * process whose parent has ended is the first one's child, so a grandchild of an exec'd process can pass for one.
 */
function descendsFromInit(
  proc: Proc,
  { pid, parentPid }: ProcessStatus,
  { initPid, parents }: ObservedContainer,
): boolean {
  if (pid === initPid) return true;
  let at = parents.get(pid) ?? parentPid;
  for (let steps = 0; steps < MAX_ANCESTORS; steps += 1) {
    if (at === initPid) return true;
    if (at <= 1) return false;
    at = parents.get(at) ?? proc.status(at).parentPid;
  }
  return false;
}

function ended(pid: number): LacreError {
  return new LacreError('agent.caller.ended', `process ${pid}, which asked, has ended`, { pid });
}

/** What was found of a process that has ended meanwhile may have been another's. */
function faultAt(peer: PinnedProcess, error: unknown): unknown {
  try {
    peer.requireAlive();
  } catch (death) {
    return callerFault(death, peer.pid);
  }
  return callerFault(error, peer.pid);
}

/** Every fault under a code of the caller's. */
function callerFault(error: unknown, pid: number | undefined): unknown {
  const who = pid === undefined ? 'the peer of a socket' : `process ${pid}`;
  const details = pid === undefined ? {} : { pid };
  if (isLacreError(error, 'agent.engine.unavailable')) {
    return new LacreError('agent.caller.engine', `${who} can't be told its container: ${error.message}`, details, {
      cause: error,
    });
  }
  if (isMissing(error)) {
    return new LacreError('agent.caller.ended', `${who}, which asked, has ended`, details, { cause: error });
  }
  if (isLacreError(error, 'agent.caller.ended', 'agent.caller.not-in-container', 'agent.caller.engine')) return error;
  const reason = error instanceof Error ? error.message : String(error);
  return new LacreError('agent.caller.unreadable', `${who} can't be looked at: ${reason}`, details, { cause: error });
}
