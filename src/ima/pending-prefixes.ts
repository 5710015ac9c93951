import { hash } from 'node:crypto';
import { at } from '../bytes/at.ts';
import { ownBuffer } from '../bytes/own-buffer.ts';
import { LacreError } from '../lacre-error.ts';
import { DIGEST_LENGTH, type PcrBank } from '../tpm/constants.ts';
import { FoldQueue } from './fold-queue.ts';
import { PrefixSegments } from './prefix-segments.ts';

/** PCRs that the policy of a node measures into (DESIGN section 4). */
export type ListPcr = 10 | 13 | 14;
export const LIST_PCRS: readonly ListPcr[] = [10, 13, 14];

/** Values of the list's PCRs at one point of it, in one bank: 32 bytes each, or 48. */
export interface ListPcrs {
  readonly pcr10: Uint8Array;
  readonly pcr13: Uint8Array;
  readonly pcr14: Uint8Array;
}

/** Entries that no quote has proven yet: about 40 bytes are kept for each. */
const MAX_PENDING = 1 << 21;
/** One for all lists: none leaves anything in it. */
const queue = new FoldQueue();
/** What the queue has just computed, of SHA-256. */
const folded = Buffer.alloc(FoldQueue.ENTRIES * DIGEST_LENGTH.sha256);

/** Makes ready what the first list would wait for: some 20 ms. */
export function prepareFolds(): void {
  queue.prepare();
}

/**
 * The PCR values after each entry that no quote has proven yet. An entry costs two hashes and 37 bytes; the values at any
 * point are found by going back along the entries of each PCR. Entries are numbered through the list's life here.
 */
export class PendingPrefixes {
  readonly bank: PcrBank;
  /** Bytes of a value. */
  readonly #width: number;
  readonly #base: readonly Buffer[];
  /** The PCRs after all entries, one behind the other. */
  readonly #now: Buffer;
  /** A PCR's value, and the digest that is folded into it. */
  readonly #fold: Buffer;
  readonly #entries: PrefixSegments;
  readonly #last: [number, number, number] = [-1, -1, -1];
  readonly #bound: number;

  /** @param bound entries that may wait for their proof. */
  constructor(start: ListPcrs, bound: number = MAX_PENDING) {
    this.bank = bankOfWidth(start);
    this.#width = DIGEST_LENGTH[this.bank];
    this.#entries = new PrefixSegments(this.#width);
    this.#bound = bound;
    this.#base = [start.pcr10, start.pcr13, start.pcr14].map((value) => ownBuffer(value));
    this.#now = ownBuffer(Buffer.concat(this.#base));
    this.#fold = Buffer.alloc(2 * this.#width);
  }

  get length(): number {
    return this.#entries.length;
  }

  /** Folds the digest of the next entry (a latin1 character a byte) into its PCR. Throws ima.list.oversized. */
  extend(pcr: ListPcr, digest: string): void {
    this.finish();
    const [slot, width] = [slotOf(pcr), this.#width];
    const number = this.#append(slot);
    this.#now.copy(this.#fold, 0, slot * width, (slot + 1) * width);
    this.#fold.write(digest, width, width, 'latin1');
    this.#now.write(hash(this.bank, this.#fold, 'binary'), slot * width, width, 'latin1');
    this.#entries.setValue(number, this.#now, slot * width);
  }

  /**
   * As `extend` with the SHA-256 of `buffer` from `start` to `end`, of which `finish` computes many at once; until then the
   * buffer may not change. For the bank SHA-256 alone. Throws ima.list.oversized.
   */
  extendLater(pcr: ListPcr, buffer: Uint8Array, start: number, end: number): void {
    queue.take(this);
    if (!queue.fits(buffer, start, end)) this.finish();
    const slot = slotOf(pcr);
    this.#append(slot);
    queue.add(slot, buffer, start, end);
  }

  /** Computes what `extendLater` has put off. */
  finish(): void {
    queue.take(this);
    const count = queue.length;
    if (count === 0) return;
    queue.run(this.#now, folded);
    this.#entries.setValues(this.#entries.end - count, folded, count);
  }

  /** Walks from the whole back to none: see PrefixWalk. */
  walk(): PrefixWalk {
    this.finish();
    return new PrefixWalk(this.#base, this.#entries, this.length, [...this.#last]);
  }

  /** Values after the first `count` pending entries. */
  at(count: number): ListPcrs {
    this.finish();
    const end = this.#entries.start + count;
    const last = this.#last.map((at, slot) => (at < end ? at : this.#entries.lastOf(slot, end)));
    return new PrefixWalk(this.#base, this.#entries, count, last).pcrs();
  }

  /** Takes the first `count` entries as proven: they are forgotten, and their PCR values become the start. */
  drop(count: number): void {
    const { pcr10, pcr13, pcr14 } = this.at(count);
    [pcr10, pcr13, pcr14].forEach((value, slot) => void at(this.#base, slot).set(value));
    this.#entries.drop(count);
  }

  #append(slot: 0 | 1 | 2): number {
    if (this.length >= this.#bound) throw tooMany(this.#bound);
    const number = this.#entries.append(slot, this.#last[slot]);
    this.#last[slot] = number;
    return number;
  }
}

/**
 * Goes back one entry at a time, in constant time each, and writes the PCR values at that point where they are wanted.
 * Sees the entries that were pending when it was made.
 */
export class PrefixWalk {
  count: number;
  readonly #base: readonly Buffer[];
  /** Bytes of a value. */
  readonly #width: number;
  readonly #entries: PrefixSegments;
  readonly #last: number[];

  /** @param last number of each PCR's last entry among the first `count`; below the first pending one: none. */
  constructor(base: readonly Buffer[], entries: PrefixSegments, count: number, last: number[]) {
    this.#base = base;
    this.#width = at(base, 0).length;
    this.#entries = entries;
    this.count = count;
    this.#last = last;
  }

  /** Steps back over the last entry. Returns the PCR whose value thereby changes. */
  back(): ListPcr {
    this.count -= 1;
    const number = this.#entries.start + this.count;
    const slot = this.#entries.slot(number);
    this.#last[slot] = this.#entries.before(number);
    return LIST_PCRS[slot] as ListPcr;
  }

  /** Copies the value that a PCR has here to `target` at `offset`. */
  copyPcr(pcr: ListPcr, target: Buffer, offset: number): void {
    const slot = slotOf(pcr);
    const last = this.#last[slot] as number;
    if (last < this.#entries.start) at(this.#base, slot).copy(target, offset);
    else this.#entries.copyValue(last, target, offset);
  }

  pcrs(): ListPcrs {
    return { pcr10: this.#pcr(10), pcr13: this.#pcr(13), pcr14: this.#pcr(14) };
  }

  #pcr(pcr: ListPcr): Uint8Array {
    const value = Buffer.alloc(this.#width);
    this.copyPcr(pcr, value, 0);
    return new Uint8Array(value);
  }
}

function slotOf(pcr: ListPcr): 0 | 1 | 2 {
  return pcr === 10 ? 0 : pcr === 13 ? 1 : 2;
}

function tooMany(bound: number): LacreError {
  const sentence = `more than ${bound} entries of the measurement list wait for a quote`;
  return new LacreError('ima.list.oversized', sentence, { bound });
}

/** Bank whose digests are as long as these values. */
function bankOfWidth({ pcr10, pcr13, pcr14 }: ListPcrs): PcrBank {
  const bank = (['sha256', 'sha384'] as const).find((name) => DIGEST_LENGTH[name] === pcr10.length);
  if (bank !== undefined && pcr13.length === pcr10.length && pcr14.length === pcr10.length) return bank;
  throw new TypeError('PCRs of one bank have 32 bytes each, or 48');
}
