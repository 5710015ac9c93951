import { at } from '../bytes/at.ts';
import { LacreError } from '../lacre-error.ts';
import { VerifiedQuote } from '../tpm/quote.ts';
import { EntryReader } from './entry-reader.ts';
import type { KnownFiles } from './measured-file.ts';
import type { Measurement } from './measurement.ts';
import { type ListPcrs, PendingPrefixes } from './pending-prefixes.ts';
import { QuotedPrefixSearch } from './quoted-prefix.ts';

/** What is stored of a replay, so that the next session goes on behind the last proven entry. */
export interface ListSnapshot {
  readonly index: number;
  /** Offset in the list, in bytes, from which the next session has to be sent the list. */
  readonly byteOffset: number;
  readonly pcrs: ListPcrs;
}

/** Entries proven by one quote: indices `from` up to, without, `to`. */
export interface ProvenRange {
  readonly from: number;
  readonly to: number;
}

/** Gives the event loop a turn; between two calls at most about 10 ms of work are done. */
export type Pause = () => Promise<void>;

const PREFIXES_PER_TURN = 4096;
const NOTHING = Buffer.alloc(0);

/**
 * The measurement list of one boot, replayed as it comes in. What `append` returns is a claim of the node; entries before
 * `verifiedLength` are proven: a quote explains the PCRs that exactly they lead to. Costs two hashes an entry, keeps about
 * 40 bytes of each until it is proven and nothing afterwards, nor of the bytes but the start of an entry that is not whole.
 *
 * Kernel: security/integrity/ima, ima_fs.c, ima_template.c, ima_crypto.c.
 */
export class ListReplay {
  readonly #reader = new EntryReader();
  readonly #pending: PendingPrefixes;
  /** Ends of the pending entries in the list, so that a proven prefix has a byte offset. */
  #ends: number[] = [];
  #verifiedIndex: number;
  #verifiedOffset: number;
  #offset: number;
  #tail = NOTHING;
  #tailLength = 0;
  #tailNeeds = 0;
  #fault: unknown;
  #searching = false;

  /** @param start PCR values before the first entry: those of the boot log (ReplayedBoot.pcr); their length says the bank. */
  constructor(start: ListPcrs, resumed: { index: number; byteOffset: number } = { index: 0, byteOffset: 0 }) {
    this.#pending = new PendingPrefixes(start);
    this.#verifiedIndex = resumed.index;
    this.#verifiedOffset = resumed.byteOffset;
    this.#offset = resumed.byteOffset;
  }

  /** Goes on behind the last proven entry of an earlier replay of the same boot; append the list from its `byteOffset`. */
  static resume(snapshot: ListSnapshot): ListReplay {
    return new ListReplay(snapshot.pcrs, snapshot);
  }

  /** Files that are looked up as they come: lists of nodes alike then share them. Entries say the same with and without. */
  know(files: readonly KnownFiles[]): void {
    this.#reader.known = files;
  }

  /** Number of whole entries, proven or not. */
  get length(): number {
    return this.#verifiedIndex + this.#pending.length;
  }

  /** Bytes of the list that were appended, with the start of an entry that is not whole. */
  get byteLength(): number {
    return this.#offset + this.#tailLength;
  }

  get verifiedLength(): number {
    return this.#verifiedIndex;
  }

  get verifiedByteLength(): number {
    return this.#verifiedOffset;
  }

  /**
   * Takes the next bytes of the list, cut anywhere, and returns the entries that are whole now, in their order. They are
   * unquoted claims. After an error the replay is over: every later call throws the same.
   * Chunks of 512 KiB take 4 to 10 ms once the code is warm, and several times that before; `appendInTurns` cuts them.
   *
   * Throws ima.entry.malformed, ima.entry.oversized, ima.entry.pcr, ima.entry.template, ima.list.oversized.
   */
  append(bytes: Uint8Array): Measurement[] {
    if (this.#searching) throw new TypeError('the list may not grow while a quote is looked for in it');
    if (this.#fault !== undefined) throw this.#fault;
    const found: Measurement[] = [];
    try {
      const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      let start = this.#completeTail(buffer, found);
      this.#pending.finish();
      while (start < buffer.length) {
        const needs = this.#reader.frame(buffer, start, this.#offset - start);
        if (needs > 0) {
          this.#keepTail(buffer.subarray(start), needs);
          break;
        }
        found.push(this.#take(buffer, this.#reader.end - start));
        start = this.#reader.end;
      }
      this.#pending.finish();
    } catch (error) {
      this.#fault = error;
      throw error;
    }
    return found;
  }

  /**
   * Proves a prefix of the list by a quote: the one under which all quoted PCRs are explained together, the list's own by
   * its entries, the others by `fixed` (the boot's, of the same bank). Never shorter than what is proven already.
   *
   * Throws ima.prefix.unexplained: then the quote is no evidence, and nothing changes.
   */
  verify(quote: VerifiedQuote, fixed: ReadonlyMap<number, Uint8Array>): ProvenRange {
    const search = this.#search(quote, fixed);
    return this.#conclude(search.step(Number.POSITIVE_INFINITY));
  }

  /** As `verify`, but pauses while many entries wait for their proof. The list may not grow meanwhile. */
  async verifyInTurns(
    quote: VerifiedQuote,
    fixed: ReadonlyMap<number, Uint8Array>,
    pause: Pause,
  ): Promise<ProvenRange> {
    const search = this.#search(quote, fixed);
    this.#searching = true;
    try {
      let result = search.step(PREFIXES_PER_TURN);
      while (result === 'more') {
        await pause();
        result = search.step(PREFIXES_PER_TURN);
      }
      return this.#conclude(result);
    } finally {
      this.#searching = false;
    }
  }

  /** As `append`, entry by entry lists for `take`, with pauses between pieces of at most 32 KiB. */
  async appendInTurns(bytes: Uint8Array, take: (found: Measurement[]) => void, pause: Pause): Promise<void> {
    const piece = 32 * 1024;
    for (let start = 0; start < bytes.length; start += piece) {
      if (start > 0) await pause();
      take(this.append(bytes.subarray(start, start + piece)));
    }
  }

  /** PCR values after the first `index` entries, where that is not before the last proven one or beyond the end. */
  pcrsAt(index: number): ListPcrs | undefined {
    if (index < this.#verifiedIndex || index > this.length) return undefined;
    return this.#pending.at(index - this.#verifiedIndex);
  }

  /** What to store of the proven part. */
  snapshot(): ListSnapshot {
    return { index: this.#verifiedIndex, byteOffset: this.#verifiedOffset, pcrs: this.#pending.at(0) };
  }

  #search(quote: VerifiedQuote, fixed: ReadonlyMap<number, Uint8Array>): QuotedPrefixSearch {
    if (!VerifiedQuote.isVerified(quote)) throw new TypeError('the quote was not verified');
    if (this.#searching) throw new TypeError('a quote is already looked for in this list');
    if (this.#fault !== undefined) throw this.#fault;
    return new QuotedPrefixSearch(this.#pending, quote, fixed);
  }

  #conclude(result: number | 'none' | 'more'): ProvenRange {
    if (typeof result !== 'number') {
      throw new LacreError(
        'ima.prefix.unexplained',
        `no prefix of the ${this.length} entries from ${this.#verifiedIndex} on explains the quoted PCRs`,
        {
          verifiedIndex: this.#verifiedIndex,
          length: this.length,
        },
      );
    }
    const from = this.#verifiedIndex;
    if (result > 0) {
      this.#verifiedOffset = at(this.#ends, result - 1);
      this.#ends = this.#ends.slice(result);
      this.#pending.drop(result);
      this.#verifiedIndex += result;
    }
    return { from, to: this.#verifiedIndex };
  }

  /** Interprets and folds the entry that the reader has just framed, `size` bytes long. */
  #take(buffer: Buffer, size: number): Measurement {
    const offset = this.#offset;
    const pcr = this.#reader.pcr(offset);
    const measurement = this.#reader.measurement(buffer, this.length, offset, offset + size);
    this.#reader.fold(buffer, pcr, this.#pending);
    this.#ends.push(offset + size);
    this.#offset = offset + size;
    return measurement;
  }

  /** Fills up the entry that an earlier call left unfinished. Returns how many bytes of `buffer` it took. */
  #completeTail(buffer: Buffer, found: Measurement[]): number {
    let used = 0;
    while (this.#tailLength > 0) {
      const missing = this.#tailNeeds - this.#tailLength;
      const piece = buffer.subarray(used, used + missing);
      this.#keepTail(piece, this.#tailNeeds);
      used += piece.length;
      if (piece.length < missing) return used;
      const entry = this.#tail.subarray(0, this.#tailLength);
      const needs = this.#reader.frame(entry, 0, this.#offset);
      if (needs > 0) {
        this.#tailNeeds = needs;
        continue;
      }
      this.#tailLength = 0;
      found.push(this.#take(entry, entry.length));
    }
    return used;
  }

  /** Appends to the unfinished entry, of which at least `needs` bytes are to come: at most a header and 64 KiB. */
  #keepTail(bytes: Buffer, needs: number): void {
    const length = this.#tailLength + bytes.length;
    if (length > this.#tail.length) {
      const larger = Buffer.alloc(Math.max(length, Math.min(needs, 2 * length + 512)));
      this.#tail.copy(larger, 0, 0, this.#tailLength);
      this.#tail = larger;
    }
    bytes.copy(this.#tail, this.#tailLength);
    this.#tailLength = length;
    this.#tailNeeds = needs;
  }
}
