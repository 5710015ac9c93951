import { close, lstat, open, read, readdir, readlink } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type CgroupOwner, parseCgroup } from '../container/cgroup.ts';
import { type MountLine, parseMountInfo } from '../container/mount-info.ts';
import { pathText } from '../container/path-text.ts';
import { type ProcessStatus, parseProcessStatus, parseStartTicks } from '../container/process-status.ts';
import { parseUidMap, type UidExtent } from '../container/uid-map.ts';
import { LacreError } from '../lacre-error.ts';

const openAsync = promisify(open);
const readAsync = promisify(read);
const closeAsync = promisify(close);
const readlinkAsync = promisify(readlink);
const lstatAsync = promisify(lstat);
const readdirAsync = promisify(readdir);

const MAX_MOUNTINFO_BYTES = 4 * 1024 * 1024;
const MAX_TEXT_BYTES = 64 * 1024;
const MAX_PROCS_BYTES = 1024 * 1024;
const FIRST_READ_BYTES = 16 * 1024;
/** Kinds of namespaces that a container may share with the host, as /proc/PID/ns names them. */
export const NAMESPACES = ['cgroup', 'ipc', 'mnt', 'net', 'pid', 'user', 'uts'] as const;
export type NamespaceKind = (typeof NAMESPACES)[number];
export type Namespaces = Readonly<Record<NamespaceKind, string>>;

/**
 * A file's content, never more than `maxBytes`; /proc and cgroup files have no size of their own, so it reads to their
 * end. Rejects with the system's error, or container.proc.malformed where the file is longer.
 */
export async function readBounded(path: string, maxBytes: number): Promise<Buffer> {
  const fd = await openAsync(path, 'r');
  try {
    let buffer = Buffer.allocUnsafe(Math.min(FIRST_READ_BYTES, maxBytes + 1));
    let length = 0;
    for (;;) {
      const { bytesRead } = await readAsync(fd, buffer, length, buffer.length - length, null);
      length += bytesRead;
      if (bytesRead === 0) return buffer.subarray(0, length);
      if (length > maxBytes)
        throw new LacreError('container.proc.malformed', `${path} is longer than ${maxBytes} bytes`);
      if (length === buffer.length) {
        const larger = Buffer.allocUnsafe(Math.min(4 * length, maxBytes + 1));
        buffer.copy(larger, 0, 0, length);
        buffer = larger;
      }
    }
  } finally {
    await closeAsync(fd);
  }
}

/** What the kernel says of processes, by /proc: bounded reads, nothing written. Needs CAP_SYS_PTRACE for others' files. */
export class Proc {
  readonly root: string;
  readonly #cgroupRoot: string;

  /** @param root where proc is mounted. @param cgroupRoot where cgroup version 2 is mounted. */
  constructor(root = '/proc', cgroupRoot = '/sys/fs/cgroup') {
    this.root = root;
    this.#cgroupRoot = cgroupRoot;
  }

  async status(pid: number): Promise<ProcessStatus> {
    return parseProcessStatus((await this.#text(pid, 'status')).toString('latin1'));
  }

  /** Start time of a process, in clock ticks since boot. */
  async startTicks(pid: number): Promise<bigint> {
    return parseStartTicks((await this.#text(pid, 'stat')).toString('latin1'));
  }

  async uidMap(pid: number): Promise<UidExtent[]> {
    return parseUidMap((await this.#text(pid, 'uid_map')).toString('latin1'));
  }

  async mounts(pid: number): Promise<MountLine[]> {
    return parseMountInfo(await readBounded(this.#path(pid, 'mountinfo'), MAX_MOUNTINFO_BYTES));
  }

  async cgroupOwner(pid: number): Promise<CgroupOwner | undefined> {
    return parseCgroup(await this.cgroupText(pid));
  }

  async cgroupText(pid: number): Promise<string> {
    return (await this.#text(pid, 'cgroup')).toString('utf8');
  }

  /** "kind:[inode]" of each of a process's namespaces. */
  async namespaces(pid: number): Promise<Namespaces> {
    const found = await Promise.all(NAMESPACES.map((kind) => this.namespace(pid, kind)));
    return Object.fromEntries(NAMESPACES.map((kind, index) => [kind, found[index]])) as Namespaces;
  }

  async namespace(pid: number, kind: NamespaceKind): Promise<string> {
    return readlinkAsync(this.#path(pid, `ns/${kind}`));
  }

  /** Path of the executable as the process's own mount namespace has it, by pathText. */
  async executable(pid: number): Promise<string> {
    return pathText(await readlinkAsync(this.#path(pid, 'exe'), 'buffer'));
  }

  /** Whether a path exists in a process's root. A link in the last place isn't followed. */
  async existsInside(pid: number, path: string): Promise<boolean> {
    try {
      await lstatAsync(join(this.#path(pid, 'root'), path));
      return true;
    } catch (error) {
      if (isMissing(error)) return false;
      throw error;
    }
  }

  /**
   * Pids of every process in a cgroup and those below it, at most `max` and one. Pids that end meanwhile are told too.
   * @param path of the cgroup, from /proc/PID/cgroup.
   */
  async processesOf(path: string, max: number): Promise<number[]> {
    const pids: number[] = [];
    const folders = [join(this.#cgroupRoot, path)];
    for (let folder = folders.pop(); folder !== undefined && pids.length <= max; folder = folders.pop()) {
      pids.push(...(await processesIn(folder)));
      folders.push(...(await foldersIn(folder)));
    }
    return pids;
  }

  /** Seconds since boot. */
  async uptimeSeconds(): Promise<number> {
    const text = (await readBounded(join(this.root, 'uptime'), MAX_TEXT_BYTES)).toString('latin1');
    return Number.parseFloat(text);
  }

  #text(pid: number, file: string): Promise<Buffer> {
    return readBounded(this.#path(pid, file), MAX_TEXT_BYTES);
  }

  #path(pid: number, file: string): string {
    return `${this.root}/${pid}/${file}`;
  }
}

/** Whether an error says that a file or process is not there. */
export function isMissing(error: unknown): boolean {
  return ['ENOENT', 'ESRCH', 'ENOTDIR'].includes(codeOf(error) ?? '');
}

/** The system's name of an error, such as EACCES. */
export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

async function processesIn(folder: string): Promise<number[]> {
  try {
    const text = (await readBounded(join(folder, 'cgroup.procs'), MAX_PROCS_BYTES)).toString('latin1');
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map(Number);
  } catch (error) {
    // A threaded cgroup has none of its own: the one above lists its processes.
    if (isMissing(error) || codeOf(error) === 'ENOTSUP' || codeOf(error) === 'EOPNOTSUPP') return [];
    throw error;
  }
}

async function foldersIn(folder: string): Promise<string[]> {
  try {
    const entries = await readdirAsync(folder, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map((entry) => join(folder, entry.name));
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}
