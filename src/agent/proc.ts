import { close, closeSync, open, openSync, read, readdirSync, readlinkSync, readSync, statSync } from 'node:fs';
import { promisify } from 'node:util';
import { type ProcessStatus, parseProcessStatus, parseStartTicks } from '../container/process-status.ts';
import { parseUidMap, type UidExtent } from '../container/uid-map.ts';
import { LacreError } from '../lacre-error.ts';
import type { Native } from './native.ts';
import { type ProcessFacts, readProcessFacts } from './process-facts.ts';

const openAsync = promisify(open);
const readAsync = promisify(read);
const closeAsync = promisify(close);

const MAX_MOUNTINFO_BYTES = 4 * 1024 * 1024;
const MAX_TEXT_BYTES = 64 * 1024;
const MAX_PROCS_BYTES = 1024 * 1024;
const FIRST_READ_BYTES = 16 * 1024;
/** Its name in the folder above, and its own `.`. */
const LINKS_OF_A_LEAF = 2;
/** What kernel files are read into: synchronously, so never by two at once. */
const scratch = Buffer.allocUnsafeSlow(MAX_TEXT_BYTES + 1);
/** Kinds of namespaces that a container may share with the host, as /proc/PID/ns names them. */
export const NAMESPACES = ['cgroup', 'ipc', 'mnt', 'net', 'pid', 'user', 'uts'] as const;
export type NamespaceKind = (typeof NAMESPACES)[number];
export type Namespaces = Readonly<Record<NamespaceKind, string>>;

/**
 * A file's content, never more than `maxBytes`, whatever size it says it has. Rejects with the system's error, or
 * container.proc.malformed where the file is longer.
 */
export async function readBounded(path: string, maxBytes: number): Promise<Buffer> {
  const fd = await openAsync(path, 'r');
  try {
    let buffer: Buffer = Buffer.allocUnsafe(Math.min(FIRST_READ_BYTES, maxBytes + 1));
    let length = 0;
    for (;;) {
      const { bytesRead } = await readAsync(fd, buffer, length, buffer.length - length, null);
      length += bytesRead;
      if (bytesRead === 0) return buffer.subarray(0, length);
      if (length > maxBytes) throw tooLong(path, maxBytes);
      if (length === buffer.length) buffer = enlarged(buffer, maxBytes);
    }
  } finally {
    await closeAsync(fd);
  }
}

export interface ProcPlace {
  /** Where proc is mounted. */
  readonly root?: string;
  /** Where cgroup version 2 is mounted. */
  readonly cgroupRoot?: string;
  /** A process in the host's own namespaces; the kernel's own thread by default. */
  readonly hostPid?: number;
}

/**
 * What the kernel says of processes, by /proc: bounded reads, nothing written, nothing that walks a path of theirs,
 * where a file system of a container's own could hold it up. Needs CAP_SYS_PTRACE for others' files. Throws the
 * system's error, or container.proc.malformed.
 */
export class Proc {
  readonly root: string;
  readonly #cgroupRoot: string;
  readonly #hostPid: number | undefined;
  #host: Namespaces | undefined;

  constructor({ root = '/proc', cgroupRoot = '/sys/fs/cgroup', hostPid }: ProcPlace = {}) {
    this.root = root;
    this.#cgroupRoot = cgroupRoot;
    this.#hostPid = hostPid;
  }

  status(pid: number): ProcessStatus {
    return parseProcessStatus(this.#record(pid, 'status').toString('latin1'));
  }

  facts(pid: number, native: Native): ProcessFacts {
    return readProcessFacts(native, `${this.root}/${pid}`);
  }

  /** Start time of a process, in clock ticks since boot. */
  startTicks(pid: number): bigint {
    return parseStartTicks(this.#record(pid, 'stat').toString('latin1'));
  }

  uidMap(pid: number): UidExtent[] {
    return parseUidMap(this.#text(pid, 'uid_map').toString('latin1'));
  }

  /** Content of mountinfo, for parseMountInfo. */
  mountInfo(pid: number): Buffer {
    return readKernelFile(this.mountInfoPath(pid), MAX_MOUNTINFO_BYTES);
  }

  mountInfoPath(pid: number): string {
    return this.#path(pid, 'mountinfo');
  }

  cgroupText(pid: number): string {
    return this.#record(pid, 'cgroup').toString('utf8');
  }

  /** "kind:[inode]" of each of a process's namespaces. */
  namespaces(pid: number): Namespaces {
    return Object.fromEntries(NAMESPACES.map((kind) => [kind, this.namespace(pid, kind)])) as Namespaces;
  }

  /** The host's own namespaces; they never change. */
  hostNamespaces(): Namespaces {
    this.#host ??= this.namespaces(this.#hostPid ?? this.#kthreadd());
    return this.#host;
  }

  namespace(pid: number, kind: NamespaceKind): string {
    return readlinkSync(this.#path(pid, `ns/${kind}`));
  }

  /**
   * Pids of every process in a cgroup and those below it, at most `max` and one. Pids that end meanwhile are told too.
   * @param path of the cgroup, from /proc/PID/cgroup.
   */
  processesOf(path: string, max: number): number[] {
    const pids: number[] = [];
    const folders = [this.cgroupFolder(path)];
    for (let folder = folders.pop(); folder !== undefined && pids.length <= max; folder = folders.pop()) {
      pids.push(...processesIn(folder));
      folders.push(...foldersIn(folder));
    }
    return pids;
  }

  /** Where a cgroup's files are. @param path of the cgroup, from /proc/PID/cgroup. */
  cgroupFolder(path: string): string {
    return `${this.#cgroupRoot}/${path}`;
  }

  /** How many descriptors this process may have open. */
  descriptorLimit(): number {
    const text = readKernelFile(`${this.root}/self/limits`, MAX_TEXT_BYTES).toString('latin1');
    return Number(/^Max open files +(\d+)/m.exec(text)?.[1] ?? 0);
  }

  /**
   * The pid that was given last in this process's pid namespace: each new process and thread in it or below takes another.
   * Undefined where proc doesn't tell.
   */
  lastPid(): number | undefined {
    try {
      const text = readKernelFile(`${this.root}/loadavg`, MAX_TEXT_BYTES, true).toString('latin1');
      const match = / (\d{1,10})\n$/.exec(text);
      return match === null ? undefined : Number(match[1]);
    } catch {
      return undefined;
    }
  }

  /** Seconds since boot. */
  uptimeSeconds(): number {
    const text = readKernelFile(`${this.root}/uptime`, MAX_TEXT_BYTES).toString('latin1');
    return Number.parseFloat(text);
  }

  /** Process 2 where it is a kernel thread, which is in no namespace but the first ones: it has no executable. Else 1. */
  #kthreadd(): number {
    try {
      readlinkSync(this.#path(2, 'exe'));
      return 1;
    } catch (error) {
      return codeOf(error) === 'ENOENT' && this.status(2).parentPid === 0 ? 2 : 1;
    }
  }

  #text(pid: number, file: string): Buffer {
    return readKernelFile(this.#path(pid, file), MAX_TEXT_BYTES);
  }

  /** A file that the kernel makes as one record: what a read leaves room after is all of it. */
  #record(pid: number, file: string): Buffer {
    return readKernelFile(this.#path(pid, file), MAX_TEXT_BYTES, true);
  }

  #path(pid: number, file: string): string {
    return `${this.root}/${pid}/${file}`;
  }
}

/**
 * The same of a file of /proc or of cgroups, which the kernel makes while it is read: no disk or server can hold it up,
 * and it costs a tenth of an asynchronous read.
 */
export function readKernelFile(path: string, maxBytes: number, isOneRecord = false): Buffer {
  const fd = openSync(path, 'r');
  try {
    let buffer: Buffer = scratch;
    let length = 0;
    for (;;) {
      const bytesRead = readSync(fd, buffer, length, buffer.length - length, null);
      length += bytesRead;
      if (length > maxBytes) throw tooLong(path, maxBytes);
      const isEnd = bytesRead === 0 || (isOneRecord && length < buffer.length);
      if (isEnd) return Buffer.from(buffer.subarray(0, length));
      if (length === buffer.length) buffer = enlarged(buffer, maxBytes);
    }
  } finally {
    closeSync(fd);
  }
}

function enlarged(buffer: Buffer, maxBytes: number): Buffer {
  const larger = Buffer.allocUnsafe(Math.min(4 * buffer.length, maxBytes + 1));
  buffer.copy(larger);
  return larger;
}

function tooLong(path: string, maxBytes: number): LacreError {
  return new LacreError('container.proc.malformed', `${path} is longer than ${maxBytes} bytes`);
}

/** Whether an error says that a file or process is not there. */
export function isMissing(error: unknown): boolean {
  return ['ENOENT', 'ESRCH', 'ENOTDIR'].includes(codeOf(error) ?? '');
}

/** The system's name of an error, such as EACCES. */
export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

function processesIn(folder: string): number[] {
  try {
    const text = readKernelFile(`${folder}/cgroup.procs`, MAX_PROCS_BYTES).toString('latin1');
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

function foldersIn(folder: string): string[] {
  try {
    // Each folder below is one link more (kernfs counts them too): most cgroups have none.
    if (statSync(folder).nlink === LINKS_OF_A_LEAF) return [];
    const entries = readdirSync(folder, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map((entry) => `${folder}/${entry.name}`);
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}
