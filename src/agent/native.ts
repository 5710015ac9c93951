import {
  chmodSync,
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LacreError } from '../lacre-error.ts';

/** The process at the other end of a unix socket, as the kernel kept it when it connected. */
export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** System calls that Node lacks (native/lacre.c). Each throws an Error whose `code` is the errno's name. */
export interface Native {
  /** SO_PEERCRED of a connected unix socket. */
  peerCredentials(fd: number): PeerCredentials;
  /**
   * SO_PEERCRED's user alone: of who connected or, at a client, of who listens. That process may be in a pid namespace out
   * of sight. ENOTCONN where nobody is there.
   */
  peerUid(fd: number): number;
  /** SO_PEERPIDFD: a descriptor of just that process, to be closed by the caller. ENOPROTOOPT before Linux 6.5. */
  peerPidfd(fd: number): number;
  /** pidfd_open(2): of whatever process has that pid now. */
  pidfdOpen(pid: number): number;
  /** False once the process has ended. */
  isAlive(pidfd: number): boolean;
  /**
   * Looks at a container by four descriptors: of its first process, of that process's mountinfo, of its cgroup's folder
   * and of cgroup.procs in it. The length of cgroup.procs, which is in `buffer` then, as far as it has room; or why it
   * has to be looked at otherwise: one of WATCHED. A change of mounts is told once.
   */
  watch(descriptors: Int32Array, buffer: Buffer): number;
  /** An epoll descriptor for watchHold and watchAll. */
  watchOpen(): number;
  /**
   * From now on watchAll tells of this slot when the container's first process ends or its mounts change; a change before
   * this call may stay untold. To close the descriptors ends it.
   */
  watchHold(epoll: number, slot: number, descriptors: Int32Array): void;
  /**
   * Looks at the containers in all slots. Of each: an equal part of `procs` holds in its first `lengths` bytes what
   * cgroup.procs was (0: there is none to be compared), `descriptors` its four. Puts into `seen` 0 for one that is as it
   * was, else the length of its cgroup.procs or one of WATCHED; a change of mounts is told once. Returns how many are not
   * as they were.
   */
  watchAll(epoll: number, procs: Buffer, descriptors: Int32Array, lengths: Int32Array, seen: Int32Array): number;
  /** Whether an open file of /proc reads, from its beginning to its end, as expected. */
  hasContent(descriptor: number, expected: Buffer): boolean;
  /**
   * Puts into `buffer` what /proc says of the process whose folder this is: stat, status, cgroup, and where exe, ns/user,
   * ns/mnt and ns/pid lead, each after its length in 32 bits. All of it is of one process, whoever gets its pid meanwhile:
   * ESRCH or ENOENT once it has ended. EOVERFLOW where it is too much.
   */
  readProcess(folder: string, buffer: Buffer): void;
  /** No core files; no process without CAP_SYS_PTRACE reads this one's memory. */
  setNotDumpable(): void;
  /** Gives back memory that isn't used at the moment: pages of the program's own file, which are mapped again, and malloc's. */
  releaseMemory(): void;
  /** One datagram: sd_notify(3). A path that begins with `@` is an abstract name. */
  notify(socketPath: string, text: string): void;
}

/** What Native.watch and watchAll give besides a length. */
export const WATCHED = { ended: -1, mountsChanged: -2, cgroupsBelow: -3, failed: -4 } as const;

export interface NativePlace {
  /**
   * A folder that only the agent writes to, on a file system that executes. The addon is put there as `lacre.node`, so
   * that the kernel's list names it by a path that reference values can hold.
   */
  readonly folder?: string | undefined;
  /** Folders for a nameless file where that one can't be used: IMA then logs an inode number for a name. */
  readonly temporary?: readonly string[];
}

const ASSET = 'lacre.node';
const TEMPORARY = ['/run', '/dev/shm', '/tmp'];
const FUNCTIONS = [
  'peerCredentials',
  'peerUid',
  'peerPidfd',
  'pidfdOpen',
  'isAlive',
  'watch',
  'watchOpen',
  'watchHold',
  'watchAll',
  'readProcess',
  'hasContent',
  'setNotDumpable',
  'notify',
  'releaseMemory',
] as const;
/** Of fcntl.h; Node doesn't name it. */
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY;

/**
 * Loads the addon: inside the single executable from its asset, else from build/native.
 * Throws agent.native.unavailable, which names every place that was tried.
 */
export function loadNative(place: NativePlace = {}): Native {
  const sea = process.getBuiltinModule('node:sea');
  if (!sea.isSea()) return open(builtPath());
  return loadNativeBytes(new Uint8Array(sea.getRawAsset(ASSET)), place);
}

/** Loads the addon from its bytes. Throws agent.native.unavailable. */
export function loadNativeBytes(addon: Uint8Array, { folder, temporary = TEMPORARY }: NativePlace = {}): Native {
  const faults: string[] = [];
  const attempt = (where: string, load: () => Native): Native | undefined => {
    try {
      return load();
    } catch (error) {
      faults.push(`${where}: ${error instanceof Error ? error.message : String(error)}`);
      return undefined;
    }
  };
  const named = folder === undefined ? undefined : attempt(folder, () => loadNamed(addon, folder));
  if (named !== undefined) return named;
  for (const place of temporary) {
    const loaded = attempt(place, () => loadNameless(addon, place));
    if (loaded !== undefined) return loaded;
  }
  throw new LacreError(
    'agent.native.unavailable',
    `the agent's native part can't be loaded from any folder (are all mounted noexec?): ${faults.join('; ')}`,
  );
}

/** Writes it beside, then renames: another agent never maps half a file. */
function loadNamed(addon: Uint8Array, folder: string): Native {
  const workspace = mkdtempSync(join(folder, '.native-'));
  try {
    const written = join(workspace, ASSET);
    writeFileSync(written, addon, { mode: 0o400 });
    chmodSync(written, 0o400);
    renameSync(written, join(folder, ASSET));
  } finally {
    rmSync(workspace, { recursive: true, force: true });
  }
  return dlopen(join(folder, ASSET));
}

function loadNameless(addon: Uint8Array, folder: string): Native {
  const fd = openSync(folder, O_TMPFILE | constants.O_RDWR, 0o400);
  try {
    for (let written = 0; written < addon.length; ) written += writeSync(fd, addon, written);
    return dlopen(`/proc/self/fd/${fd}`);
  } finally {
    closeSync(fd);
  }
}

function open(path: string): Native {
  try {
    return dlopen(path);
  } catch (cause) {
    const sentence = `the agent's native part can't be loaded from ${path}; run scripts/build-native.ts`;
    throw new LacreError('agent.native.unavailable', sentence, {}, { cause });
  }
}

function dlopen(path: string): Native {
  const module: { exports: Partial<Native> } = { exports: {} };
  process.dlopen(module, path);
  for (const name of FUNCTIONS) {
    if (typeof module.exports[name] !== 'function') throw new Error(`${path} has no function ${name}`);
  }
  return module.exports as Native;
}

function builtPath(): string {
  return join(dirname(fileURLToPath(import.meta.url)), '../../build/native', ASSET);
}
