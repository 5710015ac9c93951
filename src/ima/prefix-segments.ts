import { at } from '../bytes/at.ts';

/** Entries of a segment: little for the lists of thousands of idle nodes, of which a few entries wait for a quote. */
const ENTRIES = 256;

interface Segment {
  /** Value of the entry's PCR afterwards. */
  readonly values: Buffer;
  /** Which PCR, as index of LIST_PCRS. */
  readonly slots: Uint8Array;
  /** Number of the entry of that PCR before it; -1: none. */
  readonly before: Int32Array;
}

/** What is kept of entries in a row, numbered from 0 on for ever: added at the end, dropped from the start, never moved. */
export class PrefixSegments {
  /** Bytes of a value. */
  readonly #width: number;
  #segments: Segment[] = [];
  /** Number of the first entry of the first segment. */
  #origin = 0;
  #start = 0;
  #end = 0;

  constructor(width: number) {
    this.#width = width;
  }

  /** Number of the first entry. */
  get start(): number {
    return this.#start;
  }

  /** Number that the next entry gets. */
  get end(): number {
    return this.#end;
  }

  get length(): number {
    return this.#end - this.#start;
  }

  /** Returns the entry's number. */
  append(slot: number, before: number): number {
    const number = this.#end;
    if (number - this.#origin === this.#segments.length * ENTRIES) this.#grow();
    const { slots, before: befores } = this.#segmentOf(number);
    const place = this.#placeOf(number);
    slots[place] = slot;
    befores[place] = before;
    this.#end = number + 1;
    return number;
  }

  slot(number: number): number {
    return this.#segmentOf(number).slots[this.#placeOf(number)] as number;
  }

  before(number: number): number {
    return this.#segmentOf(number).before[this.#placeOf(number)] as number;
  }

  copyValue(number: number, target: Uint8Array, offset: number): void {
    const from = this.#placeOf(number) * this.#width;
    this.#segmentOf(number).values.copy(target, offset, from, from + this.#width);
  }

  setValue(number: number, source: Buffer, from: number): void {
    source.copy(this.#segmentOf(number).values, this.#placeOf(number) * this.#width, from, from + this.#width);
  }

  /** Values of `count` entries from `number` on: no more than a segment has. */
  setValues(number: number, source: Buffer, count: number): void {
    const fits = Math.min(count, ENTRIES - this.#placeOf(number));
    source.copy(this.#segmentOf(number).values, this.#placeOf(number) * this.#width, 0, fits * this.#width);
    if (fits < count) source.copy(this.#segmentOf(number + fits).values, 0, fits * this.#width, count * this.#width);
  }

  /** Number of the last entry of a PCR before the one numbered `end`; -1: none. */
  lastOf(slot: number, end: number): number {
    for (let number = end - 1; number >= this.#start; number--) if (this.slot(number) === slot) return number;
    return -1;
  }

  /** Forgets the first `count`. */
  drop(count: number): void {
    this.#start += count;
    const isEmpty = this.#start === this.#end;
    const whole = isEmpty ? this.#segments.length : Math.floor((this.#start - this.#origin) / ENTRIES);
    this.#segments.splice(0, whole);
    this.#origin = isEmpty ? this.#end : this.#origin + whole * ENTRIES;
  }

  #grow(): void {
    this.#segments.push({
      values: Buffer.alloc(ENTRIES * this.#width),
      slots: new Uint8Array(ENTRIES),
      before: new Int32Array(ENTRIES),
    });
  }

  #placeOf(number: number): number {
    return (number - this.#origin) % ENTRIES;
  }

  #segmentOf(number: number): Segment {
    return at(this.#segments, Math.floor((number - this.#origin) / ENTRIES));
  }
}
