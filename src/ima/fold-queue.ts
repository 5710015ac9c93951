import { Sha256Lanes } from '../bytes/sha256-lanes.ts';

const LANES = 4;

/** Entries of one buffer whose folds were put off, because hashing many at once costs a good deal less for each. */
export class FoldQueue {
  /** Entries that are hashed together: their digests four at a time, then the folds one after the other. */
  static readonly ENTRIES: number = 64;
  readonly #slots = new Uint8Array(FoldQueue.ENTRIES);
  readonly #starts = new Int32Array(FoldQueue.ENTRIES);
  readonly #ends = new Int32Array(FoldQueue.ENTRIES);
  #lanes: Sha256Lanes | undefined;
  #buffer: Uint8Array | undefined;
  #owner: object | undefined;
  #length = 0;

  /** Puts the module together that hashes; otherwise it is with the first run. */
  prepare(): Sha256Lanes {
    this.#lanes ??= new Sha256Lanes();
    return this.#lanes;
  }

  get length(): number {
    return this.#length;
  }

  /** From now on entries are this owner's. What another left, whose list ended in a fault, is dropped. */
  take(owner: object): void {
    if (this.#owner === owner) return;
    this.#owner = owner;
    this.#clear();
  }

  /** Whether an entry can join those that wait; otherwise they have to be run first. */
  fits(buffer: Uint8Array, start: number, end: number): boolean {
    if (this.#length === 0) return true;
    const first = this.#starts[0] as number;
    return (
      this.#length < FoldQueue.ENTRIES &&
      this.#buffer === buffer &&
      start >= first &&
      end - first <= Sha256Lanes.CAPACITY
    );
  }

  /** An entry whose template data lies in `buffer` from `start` to `end`, for the PCR of a slot (0 to 2). */
  add(slot: number, buffer: Uint8Array, start: number, end: number): void {
    this.#buffer = buffer;
    this.#slots[this.#length] = slot;
    this.#starts[this.#length] = start;
    this.#ends[this.#length] = end;
    this.#length += 1;
  }

  /** Folds all into `pcrs` (three of 32 bytes), and writes what each entry made of its PCR to `values`. */
  run(pcrs: Uint8Array, values: Uint8Array): void {
    const count = this.#length;
    const buffer = this.#buffer;
    if (buffer === undefined) return;
    const lanes = this.prepare();
    const first = this.#starts[0] as number;
    lanes.load(buffer, first, this.#ends[count - 1] as number);
    lanes.setPcrs(pcrs);
    for (let at = 0; at < count; at += LANES) this.#runLanes(lanes, at, Math.min(LANES, count - at), first);
    values.set(lanes.values(count));
    pcrs.set(lanes.pcrs());
    this.#clear();
  }

  #clear(): void {
    this.#buffer = undefined;
    this.#length = 0;
  }

  #runLanes(lanes: Sha256Lanes, at: number, count: number, first: number): void {
    for (let lane = 0; lane < count; lane++)
      lanes.set(lane, (this.#starts[at + lane] as number) - first, (this.#ends[at + lane] as number) - first);
    lanes.run(count);
    for (let lane = 0; lane < count; lane++) lanes.fold(this.#slots[at + lane] as number, lane, at + lane);
  }
}
