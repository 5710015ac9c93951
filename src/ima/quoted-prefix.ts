import { hash } from 'node:crypto';
import { DIGEST_LENGTH, type HashName } from '../tpm/constants.ts';
import type { VerifiedQuote } from '../tpm/quote.ts';
import { LIST_PCRS, type ListPcr, type PendingPrefixes, type PrefixWalk } from './pending-prefixes.ts';

/**
 * Looks for the prefix of the pending entries under which the quoted PCRs are explained: the list's from the entries, the
 * others from `fixed`. There is at most one: each entry changes a PCR. From the end backwards, since the list is read
 * right after the quote. Constant time per entry.
 */
export class QuotedPrefixSearch {
  readonly #walk: PrefixWalk;
  /** The quoted values in the order of the selection, as the TPM hashes them; undefined where one of them is not known. */
  readonly #values: Buffer | undefined;
  readonly #positions = new Map<ListPcr, number>();
  readonly #wanted: string;
  readonly #hash: HashName;

  constructor(pending: PendingPrefixes, quote: VerifiedQuote, fixed: ReadonlyMap<number, Uint8Array>) {
    this.#walk = pending.walk();
    this.#wanted = Buffer.from(quote.pcrDigest).toString('latin1');
    this.#hash = quote.pcrDigestHash;
    const width = DIGEST_LENGTH[quote.bank];
    const values = Buffer.alloc(quote.pcrs.length * width);
    let complete = quote.bank === pending.bank;
    quote.pcrs.forEach((pcr, index) => {
      const listed = LIST_PCRS.find((candidate) => candidate === pcr);
      const value = fixed.get(pcr);
      if (listed !== undefined) this.#positions.set(listed, index * width);
      else if (value?.length === width) values.set(value, index * width);
      else complete = false;
    });
    // A quote that leaves one of the list's PCRs out could not tell a prefix from a longer one.
    this.#values = complete && this.#positions.size === LIST_PCRS.length ? values : undefined;
    for (const pcr of LIST_PCRS) this.#place(pcr);
  }

  /** Looks at up to `steps` prefixes. A number: the prefix that explains the quote; `none`: there is none; `more`: go on. */
  step(steps: number): number | 'none' | 'more' {
    if (this.#values === undefined) return 'none';
    for (let i = 0; i < steps; i++) {
      if (hash(this.#hash, this.#values, 'binary') === this.#wanted) return this.#walk.count;
      if (this.#walk.count === 0) return 'none';
      this.#place(this.#walk.back());
    }
    return 'more';
  }

  #place(pcr: ListPcr): void {
    if (this.#values !== undefined) this.#walk.copyPcr(pcr, this.#values, this.#positions.get(pcr) as number);
  }
}
