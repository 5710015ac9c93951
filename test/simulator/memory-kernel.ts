import { sha256 } from '../../src/bytes/sha256.ts';
import { type BootedSystem, bootEvents, replayEvents, writeEventLog } from './event-log.ts';
import { evmSigEntry, type FileOwner, imaSigEntry, type ListEntry, type MeasuredFile } from './list-entry.ts';

const BOOT_AGGREGATE = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

/** As KernelSimulator, with list and PCRs in memory: for fleets, whose TPMs are software of ours (SoftTpm). */
export class MemoryKernel {
  readonly eventLog: Uint8Array;
  readonly pcrs: Map<number, Uint8Array>;
  #known = new Set<string>();
  /** Another kernel has the same set, and both copy it before they change it. */
  #isShared = false;
  #list: Uint8Array = new Uint8Array(1024);
  #length = 0;

  /** @param origin another kernel of this system: this one begins with what that has measured, at next to no cost. */
  constructor(system: BootedSystem, origin?: MemoryKernel) {
    if (origin !== undefined) {
      this.eventLog = origin.eventLog;
      this.pcrs = new Map(origin.pcrs);
      this.#known = origin.#known;
      this.#isShared = origin.#isShared = true;
      // Both views are full: whoever goes on moves to a buffer of its own.
      this.#list = origin.#list = origin.list;
      this.#length = origin.#length;
      return;
    }
    const events = bootEvents(system);
    this.eventLog = writeEventLog(events);
    this.pcrs = replayEvents(events);
    const aggregate = sha256(...BOOT_AGGREGATE.map((pcr) => this.pcrs.get(pcr) ?? new Uint8Array(32)));
    this.measureHost({ path: 'boot_aggregate', sha256: aggregate });
  }

  /** The list as it is now: a view. */
  get list(): Uint8Array {
    return this.#list.subarray(0, this.#length);
  }

  measureHost(file: MeasuredFile): void {
    this.#append(imaSigEntry(10, file));
  }

  measureContainer(file: MeasuredFile, owner: FileOwner, pcr: 10 | 13 | 14 = 10): void {
    this.#append(evmSigEntry(pcr, file, owner));
  }

  #append({ pcr, bytes, extend, identity }: ListEntry): void {
    if (this.#known.has(identity)) return;
    if (this.#isShared) this.#known = new Set(this.#known);
    this.#isShared = false;
    this.#known.add(identity);
    if (this.#length + bytes.length > this.#list.length) {
      const larger = new Uint8Array(2 * (this.#length + bytes.length));
      larger.set(this.list);
      this.#list = larger;
    }
    this.#list.set(bytes, this.#length);
    this.#length += bytes.length;
    this.pcrs.set(pcr, sha256(this.pcrs.get(pcr) ?? new Uint8Array(32), extend));
  }
}
