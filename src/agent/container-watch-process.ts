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

const MAX_PROCESSES = 4096;
/** Clock ticks a second, in all of /proc. */
const TICKS = 100;
/** A runtime that joins a container has all its capabilities for a moment, before it executes what was asked for. */
const JOINING_SECONDS = 1;

/**
 * Reads every process of a container's cgroup. One that joined a moment ago counts as a session, but not yet by its
 * capabilities: the next look tells.
 */
export async function summarizeProcesses(proc: Proc, init: ProcessStatus, cgroup: string): Promise<ProcessSummary> {
  const pids = await proc.processesOf(cgroup, MAX_PROCESSES);
  const others = pids.filter((pid) => pid !== init.pid).slice(0, MAX_PROCESSES);
  const found = (await Promise.all(others.map((pid) => statusOf(proc, pid)))).filter((status) => status !== undefined);
  const all = new Map([init, ...found].map((status) => [status.pid, status]));
  const joined = found.filter((status) => !descends(status, init.pid, all));
  const joining = new Set(await youngest(proc, joined));
  const settled = [...all.values()].filter((status) => !joining.has(status.pid));
  const unseen = pids.length > MAX_PROCESSES;
  return {
    capabilities: unseen
      ? ALL_CAPABILITIES
      : union(settled, ({ effective, permitted, ambient }) => effective | permitted | ambient),
    bounding: unseen ? ALL_CAPABILITIES : union(settled, ({ bounding }) => bounding),
    seccompMode: unseen ? 0 : Math.min(...settled.map((status) => status.seccompMode)),
    noNewPrivs: !unseen && settled.every((status) => status.noNewPrivs),
    execSessions: joined.filter((status) => !all.has(status.parentPid)).length,
  };
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

async function statusOf(proc: Proc, pid: number): Promise<ProcessStatus | undefined> {
  try {
    return await proc.status(pid);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

async function youngest(proc: Proc, joined: readonly ProcessStatus[]): Promise<number[]> {
  if (joined.length === 0) return [];
  const now = (await proc.uptimeSeconds()) * TICKS;
  const young = await Promise.all(
    joined.map(async ({ pid }) => {
      try {
        return now - Number(await proc.startTicks(pid)) < JOINING_SECONDS * TICKS;
      } catch (error) {
        if (isMissing(error)) return true;
        throw error;
      }
    }),
  );
  return joined.filter((_, index) => young[index]).map(({ pid }) => pid);
}

function union(all: readonly ProcessStatus[], of: (status: ProcessStatus) => bigint): bigint {
  return all.reduce((set, status) => set | of(status), 0n);
}
