import { closeSync } from 'node:fs';
import { encodeRecord, makeRecord } from '../container/record.ts';
import { isLacreError, LacreError } from '../lacre-error.ts';
import type { Record } from '../proto/lacre/v1/record_pb.ts';
import type { ObservedContainer } from './container-watch-observe.ts';
import type { Native, PeerCredentials } from './native.ts';
import { codeOf, isMissing, type Proc } from './proc.ts';

/** What a caller's container and kind were found to be: collected here, judged by the server. */
export interface Caller {
  readonly pid: number;
  readonly record: Record;
  /** Canonical bytes of the record: what a request carries. */
  readonly bytes: Uint8Array;
  readonly container: ObservedContainer;
}

export interface CallerSources {
  readonly proc: Proc;
  /** A container as it is now: ContainerWatch.refresh. */
  readonly refresh: (containerId: string) => Promise<ObservedContainer | undefined>;
}

const MAX_ANCESTORS = 4096;

/**
 * The process that connected to a unix socket, held by a pidfd for as long as the connection lives: what has its pid
 * later, when it has ended and another process keeps the socket, is never taken for it. The pidfd comes from the socket
 * itself where the kernel has that (Linux 6.5); before, it is opened by pid, so it has to be made when the connection is
 * accepted: only a pid that was used anew between connect and accept could deceive it then.
 */
export class PinnedPeer {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
  readonly #native: Native;
  #pidfd: number | undefined;

  private constructor(native: Native, { pid, uid, gid }: PeerCredentials, pidfd: number) {
    this.pid = pid;
    this.uid = uid;
    this.gid = gid;
    this.#native = native;
    this.#pidfd = pidfd;
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

  /**
   * The process that has this pid now, for those that are told a pid and no socket. Who told it must hold the process
   * that it means: a pid that was used anew before this call can't be told from it.
   * Throws agent.caller.ended, agent.caller.unreadable.
   */
  static ofPid(pid: number, proc: Proc, native: Native): PinnedPeer {
    let pidfd: number | undefined;
    try {
      pidfd = native.pidfdOpen(pid);
      const { uid, gid } = proc.status(pid);
      return new PinnedPeer(native, { pid, uid, gid }, pidfd);
    } catch (error) {
      if (pidfd !== undefined) closeSync(pidfd);
      throw callerFault(error, pid);
    }
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
 * In which container the peer lives, and how it came there. Everything that is read by pid counts only if the pinned
 * process still lives afterwards. What the process does later, or whom it hands the socket to, isn't known.
 *
 * Throws agent.caller.ended, agent.caller.not-in-container, agent.caller.engine (the engine knows no such container,
 * or does not answer), agent.caller.unreadable.
 */
export async function identifyCaller(peer: PinnedPeer, sources: CallerSources): Promise<Caller> {
  try {
    peer.requireAlive();
    const caller = await describe(peer, sources);
    peer.requireAlive();
    return caller;
  } catch (error) {
    throw callerFault(error, peer.pid);
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

async function describe(peer: PinnedPeer, { proc, refresh }: CallerSources): Promise<Caller> {
  const startTicks = proc.startTicks(peer.pid);
  const owner = proc.cgroupOwner(peer.pid);
  if (owner === undefined) {
    const sentence = `process ${peer.pid} runs in no container of a known engine; only containers get identities`;
    throw new LacreError('agent.caller.not-in-container', sentence, { pid: peer.pid });
  }
  const container = await refresh(owner.containerId);
  if (container === undefined) {
    const sentence = `${owner.engine} has no running container ${owner.containerId.slice(0, 12)}, in whose cgroup process ${peer.pid} is`;
    throw new LacreError('agent.caller.engine', sentence, { pid: peer.pid, containerId: owner.containerId });
  }
  const executable = proc.executable(peer.pid);
  const inside = isInside(proc, peer.pid, container);
  const descends = descendsFromInit(proc, peer.pid, container);
  const record = makeRecord({
    containerSha256: container.sha256,
    containerId: container.id,
    uid: peer.uid,
    gid: peer.gid,
    executable,
    isInitFamily: inside && descends,
    joinedByExec: !descends,
    startTicks,
  });
  return { pid: peer.pid, record, bytes: encodeRecord(record), container };
}

/** Whether the process is in the user, mount and pid namespaces of the container's first one. */
function isInside(proc: Proc, pid: number, container: ObservedContainer): boolean {
  const kinds = ['user', 'mnt', 'pid'] as const;
  return kinds.every((kind) => proc.namespace(pid, kind) === container.namespaces[kind]);
}

/**
 * Whether a process's parents lead to the container's first process: not so for what the engine brought in by exec. A
 * process whose parent has ended is the first one's child, so a grandchild of an exec'd process can pass for one.
 */
function descendsFromInit(proc: Proc, pid: number, { initPid, parents }: ObservedContainer): boolean {
  let at = pid;
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
