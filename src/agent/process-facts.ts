import { type CgroupOwner, parseCgroup } from '../container/cgroup.ts';
import { pathText } from '../container/path-text.ts';
import { type ProcessStatus, parseProcessStatus, parseStartTicks } from '../container/process-status.ts';
import type { Native } from './native.ts';

/** What the kernel says of one process, read in one call: none of it is of another that got its pid meanwhile. */
export interface ProcessFacts {
  /** In clock ticks since boot. */
  readonly startTicks: bigint;
  readonly status: ProcessStatus;
  /** Undefined: it is in no container of a known engine. */
  readonly owner: CgroupOwner | undefined;
  /** Path of the executable as the process's own mount namespace has it, by pathText. */
  readonly executable: string;
  /** "kind:[inode]" of each. */
  readonly namespaces: { readonly user: string; readonly mnt: string; readonly pid: string };
}

const LENGTH_BYTES = 4;
/** All facts together; what is read of one process at a time, synchronously. */
const scratch = Buffer.allocUnsafeSlow(128 * 1024);

/** Owners of the cgroups of late, by the text of /proc/PID/cgroup: the same text always has the same one. */
const owners = new Map<string, CgroupOwner | undefined>();
const MAX_OWNERS = 4096;
const MAX_OWNER_TEXT = 1024;

function ownerOf(text: string): CgroupOwner | undefined {
  if (owners.has(text)) return owners.get(text);
  const owner = parseCgroup(text);
  if (text.length > MAX_OWNER_TEXT) return owner;
  if (owners.size >= MAX_OWNERS) owners.clear();
  owners.set(text, owner);
  return owner;
}

/**
 * Facts of a process. Throws the system's error (ESRCH or ENOENT: it has ended; EOVERFLOW: it says too much of itself), or
 * container.proc.malformed.
 * @param folder of the process, in /proc
 */
export function readProcessFacts(native: Native, folder: string): ProcessFacts {
  native.readProcess(folder, scratch);
  let at = 0;
  const next = (): Buffer => {
    const start = at + LENGTH_BYTES;
    at = start + scratch.readInt32LE(at);
    return scratch.subarray(start, at);
  };
  const startTicks = parseStartTicks(next().toString('latin1'));
  const status = parseProcessStatus(next().toString('latin1'));
  const owner = ownerOf(next().toString('utf8'));
  const executable = pathText(next());
  const [user, mnt, pid] = [next().toString('latin1'), next().toString('latin1'), next().toString('latin1')];
  return { startTicks, status, owner, executable, namespaces: { user, mnt, pid } };
}
