import { keyOf, type MeasuredFile } from '../ima/measured-file.ts';
import { EXECUTED_PCR, type Sighting } from './sighting.ts';

/** So few are looked through one by one: most owners of a node have no more, and thousands of nodes have many owners. */
const FEW = 8;
const FIRST_SLOTS = 32;
/** Slots that are looked at for one sighting; when all are others', it is kept by its text. */
const MAX_LOOKED_AT = 128;

/** What tells sightings apart. */
type Seen = Pick<Sighting, 'pcr' | 'template' | 'digestState' | 'path' | 'hex' | 'iuid' | 'file'>;

/**
 * The different files that one owner was seen with, in the order of the list. Bounded; O(1) per entry. Plain files are
 * found by their place (MeasuredFile.place); others, and those whose slots are all taken, by a text.
 */
export class SightingSet {
  readonly #list: Sighting[] = [];
  readonly #max: number;
  readonly #byOwner: boolean;
  #texts: Set<string> | undefined;
  /** Spot of a sighting, and its number in the list from 1 on; half of the slots at most are taken. Undefined: there are few. */
  #slots: Int32Array | undefined;
  #slotted = 0;
  /** Sightings without a file, which may be asked for with one, are among the texts. */
  #hasLoose = false;
  #dropped = 0;

  /** @param byOwner files of different uids are kept apart, as their owner may become known later. */
  constructor(max: number, byOwner = false) {
    this.#max = max;
    this.#byOwner = byOwner;
  }

  get list(): readonly Sighting[] {
    return this.#list;
  }

  /** Files that did not fit: whoever owns them can no longer be judged. */
  get dropped(): number {
    return this.#dropped;
  }

  /** False where it was there already, or does not fit. */
  add(sighting: Sighting): boolean {
    const spot = this.#spotOf(sighting);
    const slot = this.#slotOf(sighting, spot);
    if (this.#isKept(sighting, slot)) return false;
    if (this.#list.length >= this.#max) {
      this.#dropped++;
      return false;
    }
    this.#list.push(sighting);
    if (this.#slots !== undefined) this.#keep(slot, spot, this.#list.length);
    else if (this.#list.length > FEW) this.#index(FIRST_SLOTS);
    return true;
  }

  /** Whether one of these files was executed, as entries of containers say it. */
  wasExecuted(files: readonly MeasuredFile[]): boolean {
    return files.some((file) => {
      const { digestState, path, hex } = file;
      const wanted = { pcr: EXECUTED_PCR, template: 'evm-sig', digestState, path, hex, file, iuid: undefined };
      return this.#byOwner ? this.#list.some((seen) => isSameFile(seen, wanted)) : this.#has(wanted);
    });
  }

  /** Takes out what fulfils a condition. */
  take(condition: (sighting: Sighting) => boolean): Sighting[] {
    const taken = this.#list.filter(condition);
    if (taken.length === 0) return taken;
    const kept = this.#list.filter((sighting) => !condition(sighting));
    this.#list.length = 0;
    this.#slots = undefined;
    for (const sighting of kept) this.add(sighting);
    return taken;
  }

  #has(sighting: Seen): boolean {
    return this.#isKept(sighting, this.#slotOf(sighting, this.#spotOf(sighting)));
  }

  /** Where the search for a sighting begins; -1: it is kept by its text. */
  #spotOf({ file, iuid }: Seen): number {
    if (file === undefined || file.place < 0) return -1;
    return this.#byOwner ? Math.imul(file.place ^ (iuid ?? -1), 0x85ebca6b) >>> 1 : file.place;
  }

  /** The slot that a sighting has, or the free one that it would get; -1: none. */
  #slotOf(sighting: Seen, spot: number): number {
    const slots = this.#slots;
    if (slots === undefined || spot < 0) return -1;
    const last = slots.length / 2 - 1;
    for (let looked = 0; looked < MAX_LOOKED_AT; looked++) {
      const slot = 2 * ((spot + looked) & last);
      const number = slots[slot + 1] as number;
      if (number === 0) return slot;
      if (slots[slot] === spot && this.#isSame(this.#list[number - 1] as Sighting, sighting)) return slot;
    }
    return -1;
  }

  /** @param slot of `#slotOf`. */
  #isKept(sighting: Seen, slot: number): boolean {
    if (this.#slots === undefined) return this.#list.some((one) => this.#isSame(one, sighting));
    if (slot >= 0 && this.#slots[slot + 1] !== 0) return true;
    return (slot < 0 || this.#hasLoose) && this.#texts?.has(this.#textOf(sighting)) === true;
  }

  /** Keeps sighting `number` of the list (from 1 on) in its slot, or by its text where it has none. */
  #keep(slot: number, spot: number, number: number): void {
    const slots = this.#slots as Int32Array;
    if (slot < 0) {
      const sighting = this.#list[number - 1] as Sighting;
      this.#texts ??= new Set();
      this.#texts.add(this.#textOf(sighting));
      this.#hasLoose ||= sighting.file === undefined;
      return;
    }
    slots[slot] = spot;
    slots[slot + 1] = number;
    this.#slotted++;
    if (4 * this.#slotted > slots.length) this.#index(slots.length);
  }

  /** Gives all of the list slots anew, of which there are `count` now. */
  #index(count: number): void {
    this.#slots = new Int32Array(2 * count);
    this.#texts = undefined;
    this.#slotted = 0;
    this.#hasLoose = false;
    this.#list.forEach((sighting, at) => {
      const spot = this.#spotOf(sighting);
      this.#keep(this.#slotOf(sighting, spot), spot, at + 1);
    });
  }

  #isSame(one: Seen, other: Seen): boolean {
    return (!this.#byOwner || one.iuid === other.iuid) && isSameFile(one, other);
  }

  #textOf(sighting: Seen): string {
    const { pcr, template, digestState, iuid } = sighting;
    return `${this.#byOwner ? iuid : ''} ${pcr} ${template} ${digestState} ${fileKey(sighting)}`;
  }
}

function isSameFile(one: Seen, other: Seen): boolean {
  return (
    one.pcr === other.pcr &&
    one.template === other.template &&
    one.digestState === other.digestState &&
    ((one.file !== undefined && one.file === other.file) || fileKey(one) === fileKey(other))
  );
}

/** The same for the same path and digest, among sightings whose digests are of one kind. */
function fileKey(sighting: Seen): string {
  if (sighting.file !== undefined) return sighting.file.key;
  return sighting.digestState === 'usable' ? keyOf(sighting.hex, sighting.path) : sighting.path;
}
