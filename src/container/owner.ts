import type { RangeIndex } from './range-index.ts';

/** Whose a measurement is (DESIGN section 5). */
export type Owner =
  | { readonly kind: 'domain'; readonly id: string }
  | { readonly kind: 'shared' }
  /** `alert`: its uid is one of the pool, but of no range that was recorded: a volume's old owner, or somebody unknown. */
  | { readonly kind: 'unattributed'; readonly alert: boolean }
  | { readonly kind: 'host' };

/** What attribution needs of an entry of the measurement list. */
export interface AttributedEntry {
  readonly template: string;
  /** Owner of the file, of template evm-sig alone. */
  readonly iuid: number | undefined;
}

const HOST: Owner = { kind: 'host' };
const SHARED: Owner = { kind: 'shared' };
const UNATTRIBUTED: Owner = { kind: 'unattributed', alert: false };
const UNKNOWN_RANGE: Owner = { kind: 'unattributed', alert: true };

/**
 * The owner of an entry, by the template that the node's policy gives to what containers execute and read, and by the
 * uid that owns the file. O(log n) in the number of ranges. As good as the list and the recorded ranges are: the entry
 * is proven by a quote, the ranges are claims of the node.
 * @param uidPoolBase first uid of the pool.
 */
export function ownerOf(entry: AttributedEntry, ranges: RangeIndex, uidPoolBase: number): Owner {
  if (entry.template !== 'evm-sig') return HOST;
  const { iuid } = entry;
  if (iuid === undefined || iuid < uidPoolBase) return UNATTRIBUTED;
  const found = ranges.find(iuid);
  if (found === undefined) return UNKNOWN_RANGE;
  return found.domainId === undefined ? SHARED : { kind: 'domain', id: found.domainId };
}
