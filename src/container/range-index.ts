import { overlaps, sameRange, type UidRange } from './uid-map.ts';

/** Who owns a span of uids: a domain, by its id, or all containers that have no range of their own. */
export interface RangeOwner {
  readonly range: UidRange;
  /** Undefined: shared. */
  readonly domainId: string | undefined;
}

/** Uid ranges that don't overlap, found by uid in O(log n). */
export class RangeIndex {
  readonly #owners: RangeOwner[] = [];

  get size(): number {
    return this.#owners.length;
  }

  /** The owner of a uid, if any range holds it. */
  find(uid: number): RangeOwner | undefined {
    const owner = this.#owners[this.#after(uid) - 1];
    return owner !== undefined && uid < owner.range.base + owner.range.length ? owner : undefined;
  }

  /** Recorded ranges that overlap one, without being just it, in order. */
  conflicts(range: UidRange): RangeOwner[] {
    const found: RangeOwner[] = [];
    const first = Math.max(0, this.#after(range.base) - 1);
    for (const owner of this.#owners.slice(first)) {
      if (owner.range.base >= range.base + range.length) break;
      if (overlaps(owner.range, range) && !sameRange(owner.range, range)) found.push(owner);
    }
    return found;
  }

  /** Records a range; false where it, or a part of it, is recorded already: the first keeps it. */
  add(owner: RangeOwner): boolean {
    const at = this.#after(owner.range.base);
    const [before, next] = [this.#owners[at - 1], this.#owners[at]];
    if (before !== undefined && overlaps(before.range, owner.range)) return false;
    if (next !== undefined && overlaps(next.range, owner.range)) return false;
    this.#owners.splice(at, 0, owner);
    return true;
  }

  /** Index of the first range that begins above a uid. */
  #after(uid: number): number {
    let [low, high] = [0, this.#owners.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      const owner = this.#owners[middle];
      if (owner !== undefined && owner.range.base <= uid) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
