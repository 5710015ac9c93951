import { closeSync, constants, openSync } from 'node:fs';
import { type Native, WATCHED } from './native.ts';
import type { Proc } from './proc.ts';

/** The cgroup.procs of containers with more processes than this are read each time. */
const MAX_PROCS_BYTES = 4096;
/** What is read by one pin at a time, synchronously. */
const scratch = Buffer.allocUnsafeSlow(MAX_PROCS_BYTES);

/**
 * A container's first process, its mounts and its cgroup, held open: it costs three system calls to see that nothing
 * that these tell has changed. Never the last word: what they don't tell is looked at by the full look.
 */
export class ContainerPin {
  readonly initPid: number;
  /** Path of its cgroup. */
  readonly cgroup: string;
  readonly #native: Native;
  /** As Native.watch takes them. */
  readonly descriptors: Int32Array;

  private constructor(initPid: number, cgroup: string, native: Native, descriptors: Int32Array) {
    this.initPid = initPid;
    this.cgroup = cgroup;
    this.#native = native;
    this.descriptors = descriptors;
  }

  /**
   * Opens what is there now. The pid must be read again afterwards: only if the process still has its start time was it
   * the one that is held. Throws the system's error.
   * @param cgroup path of the container's cgroup, from /proc/PID/cgroup.
   */
  static open(initPid: number, cgroup: string, proc: Proc, native: Native): ContainerPin {
    const folder = proc.cgroupFolder(cgroup);
    const fds: number[] = [];
    try {
      fds.push(native.pidfdOpen(initPid));
      fds.push(openSync(proc.mountInfoPath(initPid), 'r'));
      fds.push(openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY));
      fds.push(openSync(`${folder}/cgroup.procs`, 'r'));
      return new ContainerPin(initPid, cgroup, native, Int32Array.from(fds));
    } catch (error) {
      for (const fd of fds) closeSync(fd);
      throw error;
    }
  }

  /** False once the first process has ended. */
  isAlive(): boolean {
    return this.#native.isAlive(this.descriptors[0] ?? -1);
  }

  /**
   * cgroup.procs as it is, where nothing else has changed: its processes have all they may have from those before them.
   * Undefined: look at all of it. Valid until the next call of any pin. Throws the system's error.
   */
  look(): Buffer | undefined {
    const length = this.#native.watch(this.descriptors, scratch);
    return length <= WATCHED.ended || length === MAX_PROCS_BYTES ? undefined : scratch.subarray(0, length);
  }

  /** Whether its mountinfo, read to its end, is still this; false also where it can't be read. */
  hasMounts(mountInfo: Buffer): boolean {
    try {
      return this.#native.hasContent(this.descriptors[1] ?? -1, mountInfo);
    } catch {
      return false;
    }
  }

  close(): void {
    for (const fd of this.descriptors) closeSync(fd);
  }
}
