import { closeSync } from 'node:fs';
import { type Native, WATCHED } from './native.ts';

/** A cgroup.procs that is longer is compared by no sweep. */
const PROCS_BYTES = 512;
const FIRST_SLOTS = 64;
const DESCRIPTORS = 4;

/** What native.watchAll takes. */
interface Table {
  readonly procs: Buffer;
  readonly descriptors: Int32Array;
  readonly lengths: Int32Array;
  /** Lengths by which nothing is compared. */
  readonly none: Int32Array;
  readonly seen: Int32Array;
}

/**
 * Containers that are held, to be looked at together. Each has a slot of its own: one that comes, goes or changes costs
 * nothing for the others.
 */
export class ContainerSweep {
  readonly #native: Native;
  /** Open while something is held. */
  #epoll: number | undefined;
  readonly #slots = new Map<string, number>();
  #usedSlots = 0;
  readonly #free: number[] = [];
  #table = tableOf(FIRST_SLOTS);
  #comparedCount = 0;

  constructor(native: Native) {
    this.#native = native;
  }

  /** How many have all of them compared. */
  get comparedCount(): number {
    return this.#comparedCount;
  }

  isCompared(id: string): boolean {
    const slot = this.#slots.get(id);
    return slot !== undefined && this.#table.lengths[slot] !== 0;
  }

  /**
   * From now on its end and changes of its mounts are told: read its mounts after this. Throws the system's error.
   * @param descriptors as Native.watch takes them; they are closed after `leave`
   */
  enter(id: string, descriptors: Int32Array): void {
    const slot = this.#free.pop() ?? this.#usedSlots++;
    if (slot === this.#table.lengths.length) this.#table = tableOf(2 * slot, this.#table);
    try {
      this.#epoll ??= this.#native.watchOpen();
      this.#native.watchHold(this.#epoll, slot, descriptors);
    } catch (error) {
      this.#free.push(slot);
      throw error;
    }
    this.#table.descriptors.set(descriptors, DESCRIPTORS * slot);
    this.#slots.set(id, slot);
  }

  /** What its cgroup.procs is compared with from now on; empty: it is not. One that is not held is none of this. */
  expect(id: string, procs: Uint8Array): void {
    const slot = this.#slots.get(id);
    if (slot === undefined) return;
    const length = procs.length > PROCS_BYTES ? 0 : procs.length;
    this.#comparedCount += Number(length > 0) - Number(this.#table.lengths[slot] !== 0);
    this.#table.lengths[slot] = length;
    this.#table.procs.set(procs.subarray(0, length), PROCS_BYTES * slot);
  }

  leave(id: string): void {
    const slot = this.#slots.get(id);
    if (slot === undefined) return;
    this.expect(id, new Uint8Array());
    this.#slots.delete(id);
    this.#free.push(slot);
    if (this.#slots.size > 0 || this.#epoll === undefined) return;
    closeSync(this.#epoll);
    this.#epoll = undefined;
  }

  /**
   * Tells of each container that is not as was expected; `isWhole`: more than its processes may be different, which is told
   * once. Throws the system's error.
   * @param isCompared false: of cgroup.procs nothing is told; the rest costs nothing for containers that are as they were
   */
  look(isCompared: boolean, tell: (id: string, isWhole: boolean) => void): void {
    if (this.#epoll === undefined) return;
    const { procs, descriptors, lengths, none, seen } = this.#table;
    if (this.#native.watchAll(this.#epoll, procs, descriptors, isCompared ? lengths : none, seen) === 0) return;
    for (const [id, slot] of this.#slots) {
      const what = seen[slot] ?? WATCHED.failed;
      if (what !== 0) tell(id, what < 0);
    }
  }
}

function tableOf(slots: number, former?: Table): Table {
  const table = {
    procs: Buffer.alloc(PROCS_BYTES * slots),
    descriptors: new Int32Array(DESCRIPTORS * slots),
    lengths: new Int32Array(slots),
    none: new Int32Array(slots),
    seen: new Int32Array(slots),
  };
  if (former === undefined) return table;
  table.procs.set(former.procs);
  table.descriptors.set(former.descriptors);
  table.lengths.set(former.lengths);
  return table;
}
