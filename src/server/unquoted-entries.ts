import { at } from '../bytes/at.ts';
import { MeasuredFile } from '../ima/measured-file.ts';
import { ListedMeasurement, type Measurement } from '../ima/measurement.ts';

/** Entries of a block. */
const ENTRIES = 256;
const NO_OWNER = -1;

/** Entries in a row, in columns: an object for each of a million would hold up the collector. */
interface Block {
  /** What an entry says of its file, or, where it was not read from a list, the entry. */
  readonly said: (MeasuredFile | Measurement)[];
  readonly pcrs: Uint8Array;
  readonly violations: Uint8Array;
  readonly templates: string[];
  /** NO_OWNER: the template says none. */
  readonly iuids: Float64Array;
}

/**
 * Entries that wait for a quote, in the order of the list and without a gap: some 30 bytes each. What is taken out again says
 * no group, no mode and no offset.
 */
export class UnquotedEntries {
  readonly #blocks: Block[] = [];
  /** Entries of the first block that are gone. */
  #gone = 0;
  #length = 0;
  #first = 0;

  get length(): number {
    return this.#length;
  }

  /** Index in the list of the first one. */
  get first(): number {
    return this.#first;
  }

  push(entry: Measurement): void {
    if (this.#length === 0) this.#first = entry.index;
    const number = this.#gone + this.#length;
    const place = number % ENTRIES;
    if (place === 0) this.#blocks.push(newBlock());
    const block = at(this.#blocks, Math.floor(number / ENTRIES));
    block.said.push(entry instanceof ListedMeasurement ? entry.file : entry);
    block.templates.push(entry.template);
    block.pcrs[place] = entry.pcr;
    block.violations[place] = entry.violation ? 1 : 0;
    block.iuids[place] = entry.iuid ?? NO_OWNER;
    this.#length += 1;
  }

  /** Entry `number` of those that wait, from 0. */
  get(number: number): Measurement {
    const place = (this.#gone + number) % ENTRIES;
    const block = at(this.#blocks, Math.floor((this.#gone + number) / ENTRIES));
    const said = at(block.said, place);
    if (!(said instanceof MeasuredFile)) return said;
    const iuid = at(block.iuids, place);
    return new ListedMeasurement(
      said,
      {
        index: this.#first + number,
        pcr: at(block.pcrs, place),
        template: at(block.templates, place),
        violation: block.violations[place] === 1,
        endOffset: 0,
      },
      { iuid: iuid === NO_OWNER ? undefined : iuid, igid: undefined, imode: undefined },
    );
  }

  /** Forgets the first `count`. */
  drop(count: number): void {
    this.#length -= count;
    this.#first += count;
    const gone = this.#gone + count;
    const isEmpty = this.#length === 0;
    this.#blocks.splice(0, isEmpty ? this.#blocks.length : Math.floor(gone / ENTRIES));
    this.#gone = isEmpty ? 0 : gone % ENTRIES;
  }
}

function newBlock(): Block {
  return {
    said: [],
    templates: [],
    pcrs: new Uint8Array(ENTRIES),
    violations: new Uint8Array(ENTRIES),
    iuids: new Float64Array(ENTRIES),
  };
}
