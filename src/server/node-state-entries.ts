import { setImmediate as nextTurn } from 'node:timers/promises';
import { EpochAppraisal } from '../appraisal/epoch-appraisal.ts';
import type { DomainBook } from '../container/domain-book.ts';
import { type Owner, ownerOf } from '../container/owner.ts';
import type { Pause } from '../ima/list-replay.ts';
import type { Measurement } from '../ima/measurement.ts';
import { LacreError } from '../lacre-error.ts';
import { LIMITS } from './limits.ts';
import { UnquotedEntries } from './unquoted-entries.ts';

interface Orphan {
  readonly entry: Measurement;
  readonly since: number;
}

/** Whose entries came since it was asked last. */
export interface Touched {
  /** Entries that may speak against any container: shared, unattributed, violations. */
  readonly anybody: boolean;
  readonly host: boolean;
  readonly domains: ReadonlySet<string>;
}

/** Entries that are sorted without a pause: about 5 ms. */
const ENTRIES_PER_TURN = 2048;

/**
 * Sorts the entries of one epoch's list by owner. What a quote covers is in `quoted`, and alone may speak for anybody;
 * what came after the newest quote is in `ahead`, and may only speak against. An entry of a uid range that nobody has
 * told waits a few seconds for its container before it counts as unattributed.
 */
export class EntrySorter {
  readonly quoted: EpochAppraisal = new EpochAppraisal();
  readonly #uidPoolBase: number;
  readonly #adopted = new Set<string>();
  #ahead = new EpochAppraisal();
  readonly #unquoted = new UnquotedEntries();
  /** Those of the unquoted whose range nobody has told. */
  #strangers: Measurement[] = [];
  #orphans: Orphan[] = [];
  /** The book whose ranges were looked at last, and how many it had: ranges only ever come to it. */
  #looked: { readonly book: DomainBook; readonly ranges: number } | undefined;
  #anybody = false;
  #host = false;
  #domains = new Set<string>();
  /** Before the first quote nothing can be withdrawn on this list, so nothing is sorted ahead. */
  #settled = false;

  constructor(uidPoolBase: number) {
    this.#uidPoolBase = uidPoolBase;
  }

  get ahead(): EpochAppraisal {
    return this.#ahead;
  }

  get hasUnquoted(): boolean {
    return this.#unquoted.length > 0;
  }

  /** Takes entries that no quote covers yet. Codes: server.limit. */
  append(entries: readonly Measurement[], book: DomainBook): void {
    if (this.#unquoted.length + entries.length > LIMITS.unquotedEntries) {
      throw new LacreError('server.limit', `more than ${LIMITS.unquotedEntries} entries of the list wait for a quote`);
    }
    for (const entry of entries) {
      this.#unquoted.push(entry);
      this.#touch(entry, book);
      if (this.#settled) this.#feedAhead(entry, book);
    }
  }

  /** A quote covers the list up to entry `to`, exclusive. Until all are sorted, the rest speaks against only. */
  async settle(to: number, book: () => DomainBook, now: Date, pause: Pause = nextTurn): Promise<void> {
    // Entries come in the order of the list, without a gap.
    const count = Math.min(this.#unquoted.length, Math.max(0, to - this.#unquoted.first));
    for (let at = 0; at < count; at++) {
      this.#feedQuoted(this.#unquoted.get(at), book(), now);
      if (at % ENTRIES_PER_TURN === ENTRIES_PER_TURN - 1) await pause();
    }
    this.#unquoted.drop(count);
    await this.#sortAhead(book, pause);
    this.#settled = true;
  }

  /** Whose entries came since the last call. */
  takeTouched(): Touched {
    const touched = { anybody: this.#anybody, host: this.#host, domains: this.#domains };
    this.#anybody = false;
    this.#host = false;
    this.#domains = new Set();
    return touched;
  }

  /** Containers changed: entries that had no owner may have one now. */
  ranges(book: DomainBook): void {
    if (this.#looked?.book === book && this.#looked.ranges === book.ranges.size) return;
    this.#looked = { book, ranges: book.ranges.size };
    const waiting = this.#orphans;
    this.#orphans = [];
    for (const orphan of waiting) {
      const owner = this.#owner(orphan.entry, book);
      if (isUnknown(owner)) this.#orphans.push(orphan);
      else this.quoted.feed(orphan.entry, owner);
    }
    for (const { id, range } of book.domains()) {
      if (range === undefined || this.#adopted.has(id)) continue;
      this.#adopted.add(id);
      this.quoted.adopt(id, range);
    }
    const strangers = this.#strangers;
    this.#strangers = [];
    for (const entry of strangers) this.#feedAhead(entry, book);
  }

  /** Entries that waited too long become unattributed; returns how many. */
  age(now: Date): number {
    const isOld = ({ since }: Orphan) => now.getTime() - since > LIMITS.orphanGraceMs;
    const old = this.#orphans.filter(isOld);
    if (old.length === 0) return 0;
    this.#orphans = this.#orphans.filter((orphan) => !isOld(orphan));
    for (const { entry } of old) this.quoted.feed(entry, { kind: 'unattributed' });
    return old.length;
  }

  #touch(entry: Measurement, book: DomainBook): void {
    const owner = this.#owner(entry, book);
    if (owner.kind === 'domain') this.#domains.add(owner.id);
    else if (owner.kind === 'host') this.#host = true;
    else if (!isUnknown(owner)) this.#anybody = true;
    if (entry.violation) this.#anybody = true;
  }

  #feedQuoted(entry: Measurement, book: DomainBook, now: Date): void {
    const owner = this.#owner(entry, book);
    if (isUnknown(owner) && this.#orphans.length < LIMITS.orphanEntries) {
      this.#orphans.push({ entry, since: now.getTime() });
    } else {
      this.quoted.feed(entry, owner);
    }
  }

  #feedAhead(entry: Measurement, book: DomainBook): void {
    const owner = this.#owner(entry, book);
    if (isUnknown(owner)) this.#strangers.push(entry);
    else this.#ahead.feed(entry, owner);
  }

  /** Sorts anew what no quote covers. Until that is done, what was sorted before speaks against. */
  async #sortAhead(book: () => DomainBook, pause: Pause): Promise<void> {
    const ahead = this.#ahead.entries > 0 ? new EpochAppraisal() : this.#ahead;
    const strangers: Measurement[] = [];
    for (let at = 0; at < this.#unquoted.length; at++) {
      const entry = this.#unquoted.get(at);
      const owner = this.#owner(entry, book());
      if (isUnknown(owner)) strangers.push(entry);
      else ahead.feed(entry, owner);
      if (at % ENTRIES_PER_TURN === ENTRIES_PER_TURN - 1) await pause();
    }
    this.#ahead = ahead;
    this.#strangers = strangers;
  }

  #owner(entry: Measurement, book: DomainBook): Owner {
    return ownerOf(entry, book.ranges, this.#uidPoolBase);
  }
}

function isUnknown(owner: Owner): boolean {
  return owner.kind === 'unattributed' && owner.alert;
}
