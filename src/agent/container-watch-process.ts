import { ALL_CAPABILITIES } from '../container/capability.ts';
import type { ProcessStatus } from '../container/process-status.ts';
import { isMissing, type Proc } from './proc.ts';

/** What all processes of a container have together. */
export interface ProcessSummary {
  /** Union of what they have, or can have at once. */
  readonly capabilities: bigint;
  readonly bounding: bigint;
  /** The lowest mode of all. */
  readonly seccompMode: number;
  readonly noNewPrivs: boolean;
  /** Processes that came in from outside: `podman exec`. Their children aren't counted. */
  readonly execSessions: number;
}

/** What was read of the processes of a container, and what it comes to. */
export interface SeenProcesses {
  readonly summary: ProcessSummary;
  /** By pid, the first one's too. */
  readonly statuses: ReadonlyMap<number, ProcessStatus>;
  /**
   * All of them descend from the first one. Then each has at most what those before it have, whatever it executes: its
   * bounding set only shrinks, and filter and no_new_privs stay (capabilities(7), seccomp(2)).
   */
  readonly isFamily: boolean;
}

export const MAX_PROCESSES = 4096;
/** Clock ticks a second, in all of /proc. */
const TICKS = 100;
/** A runtime that joins a container has all its capabilities for a moment, before it executes what was asked for. */
const JOINING_SECONDS = 1;

/**
 * Reads every process of a container. One that joined a moment ago counts as a session, but not yet by its capabilities:
 * the next look tells.
 * @param init status of the container's first process
 * @param pids of its cgroup and those below; those that have ended meanwhile are left out
 * @param known statuses that need not be read again
 */
export function readProcesses(
  proc: Proc,
  init: ProcessStatus,
  pids: readonly number[],
  known?: ReadonlyMap<number, ProcessStatus>,
): SeenProcesses {
  const others = pids.filter((pid) => pid !== init.pid).slice(0, MAX_PROCESSES);
  const found = others.map((pid) => known?.get(pid) ?? statusOf(proc, pid)).filter((status) => status !== undefined);
  const all = new Map([init, ...found].map((status) => [status.pid, status]));
  const joined = found.filter((status) => !descends(status, init.pid, all));
  const joining = new Set(youngest(proc, joined));
  const settled = [...all.values()].filter((status) => !joining.has(status.pid));
  const unseen = pids.length > MAX_PROCESSES;
  const summary = {
    capabilities: unseen
      ? ALL_CAPABILITIES
      : union(settled, ({ effective, permitted, ambient }) => effective | permitted | ambient),
    bounding: unseen ? ALL_CAPABILITIES : union(settled, ({ bounding }) => bounding),
    seccompMode: unseen ? 0 : Math.min(...settled.map((status) => status.seccompMode)),
    noNewPrivs: !unseen && settled.every((status) => status.noNewPrivs),
    execSessions: joined.filter((status) => !all.has(status.parentPid)).length,
  };
  return { summary, statuses: all, isFamily: joined.length === 0 && !unseen };
}

/** Whether a chain of parents, all of them among `all`, leads to the first process. */
export function descends(status: ProcessStatus, initPid: number, all: ReadonlyMap<number, ProcessStatus>): boolean {
  let at: ProcessStatus | undefined = status;
  for (let steps = 0; at !== undefined && steps <= all.size; steps += 1) {
    if (at.pid === initPid) return true;
    at = all.get(at.parentPid);
  }
  return false;
}

function statusOf(proc: Proc, pid: number): ProcessStatus | undefined {
  try {
    return proc.status(pid);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

function youngest(proc: Proc, joined: readonly ProcessStatus[]): number[] {
  if (joined.length === 0) return [];
  const now = proc.uptimeSeconds() * TICKS;
  return joined.map(({ pid }) => pid).filter((pid) => now - startedAt(proc, pid) < JOINING_SECONDS * TICKS);
}

/** In clock ticks; of one that has ended meanwhile: never old. */
function startedAt(proc: Proc, pid: number): number {
  try {
    return Number(proc.startTicks(pid));
  } catch (error) {
    if (isMissing(error)) return Number.POSITIVE_INFINITY;
    throw error;
  }
}

function union(all: readonly ProcessStatus[], of: (status: ProcessStatus) => bigint): bigint {
  return all.reduce((set, status) => set | of(status), 0n);
}
