import { EpochAppraisal } from '../appraisal/epoch-appraisal.ts';
import type { DomainBook } from '../container/domain-book.ts';
import { type Owner, ownerOf } from '../container/owner.ts';
import type { Measurement } from '../ima/measurement.ts';
import { LacreError } from '../lacre-error.ts';
import { LIMITS } from './limits.ts';

interface Orphan {
  readonly entry: Measurement;
  readonly since: number;
}

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
  #unquoted: Measurement[] = [];
  #orphans: Orphan[] = [];
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
      if (this.#settled) this.#feedAhead(entry, book);
    }
  }

  /** A quote covers the list up to entry `to`, exclusive. */
  settle(to: number, book: DomainBook, now: Date): void {
    const covered = this.#unquoted.findIndex((entry) => entry.index >= to);
    const count = covered === -1 ? this.#unquoted.length : covered;
    for (const entry of this.#unquoted.slice(0, count)) this.#feedQuoted(entry, book, now);
    this.#unquoted = this.#unquoted.slice(count);
    this.#settled = true;
    this.#sortAhead(book);
  }

  /** Containers changed: entries that had no owner may have one now. */
  ranges(book: DomainBook): void {
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
    if (this.#settled) this.#sortAhead(book);
  }

  /** Entries that waited too long become unattributed; returns how many. */
  age(now: Date): number {
    const old = this.#orphans.filter(({ since }) => now.getTime() - since > LIMITS.orphanGraceMs);
    if (old.length === 0) return 0;
    this.#orphans = this.#orphans.filter((orphan) => !old.includes(orphan));
    for (const { entry } of old) this.quoted.feed(entry, { kind: 'unattributed' });
    return old.length;
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
    if (!isUnknown(owner)) this.#ahead.feed(entry, owner);
  }

  #sortAhead(book: DomainBook): void {
    if (this.#ahead.entries > 0) this.#ahead = new EpochAppraisal();
    for (const entry of this.#unquoted) this.#feedAhead(entry, book);
  }

  #owner(entry: Measurement, book: DomainBook): Owner {
    return ownerOf(entry, book.ranges, this.#uidPoolBase);
  }
}

function isUnknown(owner: Owner): boolean {
  return owner.kind === 'unattributed' && owner.alert;
}
