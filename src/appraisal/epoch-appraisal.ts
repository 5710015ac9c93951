import type { UidRange } from '../container/uid-map.ts';
import { Closure } from './closure.ts';
import { Judgement } from './judgement.ts';
import type { FileTable } from './reference/file-table.ts';
import type { ImageReference } from './reference/image-reference.ts';
import { type EntryOwner, type Measured, type Sighting, sightingOf } from './sighting.ts';
import { SightingSet } from './sighting-set.ts';

/** Different files that are kept for judging; more, and the owner fails. */
export const MAX_SIGHTINGS = { domain: 50_000, host: 100_000, unattributed: 20_000 } as const;
const MAX_KEPT_VIOLATIONS = 64;
const MAX_CLOSURES = 4096;

/** What one owner was seen with in an epoch, and how it was last judged. */
export class OwnerState {
  readonly sightings: SightingSet;
  /** By the newest closure, which is the only one of nearly every domain: its containers share it. */
  #newest: { readonly key: object; readonly judgement: Judgement } | undefined;
  /** By the others: unattributed entries are judged for each. */
  #judgements: WeakMap<object, Judgement> | undefined;

  constructor(max: number, byOwner = false) {
    this.sightings = new SightingSet(max, byOwner);
  }

  /** Judged by a closure, or by any other judge that `key` stands for. Only what is new since the last time costs. */
  judged(key: object, judge: (sighting: Sighting) => ReturnType<Closure['judge']>): Judgement {
    if (this.#newest?.key !== key) {
      const judgement = this.#judgements?.get(key) ?? new Judgement(this.sightings, judge);
      if (this.#newest !== undefined) {
        this.#judgements ??= new WeakMap();
        this.#judgements.set(this.#newest.key, this.#newest.judgement);
      }
      this.#newest = { key, judgement };
    }
    return this.#newest.judgement.update();
  }

  /** Drops all judgements, as after sightings were taken out. */
  forget(): void {
    this.#newest = undefined;
    this.#judgements = undefined;
  }
}

/**
 * What the measurement list of one epoch says of each owner: fed entry by entry, O(1) each, and judged when asked, so
 * that an image which is approved or removed later, or a container that is recorded later, judges anew what was fed
 * before. After a restart the whole list is fed again. It holds entries; that they are true is for the caller to have
 * proven (ListReplay.verify): feed unquoted entries only where they may but lower trust.
 */
export class EpochAppraisal {
  readonly host = new OwnerState(MAX_SIGHTINGS.host);
  readonly shared = new OwnerState(MAX_SIGHTINGS.domain);
  readonly unattributed = new OwnerState(MAX_SIGHTINGS.unattributed, true);
  readonly #domains = new Map<string, OwnerState>();
  readonly #closures = new Map<string, Closure>();
  readonly #violations: Sighting[] = [];
  #violationCount = 0;
  #entries = 0;
  #firstForeignIndex = Number.POSITIVE_INFINITY;

  /** Entries that were fed. */
  get entries(): number {
    return this.#entries;
  }

  /** Violations, which name no owner: their number, and the first ones. */
  get violations(): { readonly count: number; readonly first: readonly Sighting[] } {
    return { count: this.#violationCount, first: this.#violations };
  }

  /** Index of the first entry that is not the host's; infinity: none. */
  get firstForeignIndex(): number {
    return this.#firstForeignIndex;
  }

  /** Takes one entry. Entries come in the order of the list. */
  feed(entry: Measured, owner: EntryOwner): void {
    this.#entries++;
    const sighting = sightingOf(entry);
    if (entry.violation) {
      this.#violationCount++;
      if (this.#violations.length < MAX_KEPT_VIOLATIONS) this.#violations.push(sighting);
      return;
    }
    if (owner.kind !== 'host') this.#firstForeignIndex = Math.min(this.#firstForeignIndex, entry.index);
    this.#stateOf(owner).sightings.add(sighting);
  }

  /** The state of a domain; an empty one where nothing was seen. */
  domain(id: string): OwnerState {
    const known = this.#domains.get(id);
    if (known !== undefined) return known;
    const made = new OwnerState(MAX_SIGHTINGS.domain);
    this.#domains.set(id, made);
    return made;
  }

  /** A container with this range is recorded: entries of the range that had no owner become its domain's. */
  adopt(domainId: string, range: UidRange): void {
    const inRange = ({ iuid }: Sighting) =>
      iuid !== undefined && iuid >= range.base && iuid < range.base + range.length;
    const taken = this.unattributed.sightings.take(inRange);
    if (taken.length === 0) return;
    this.unattributed.forget();
    for (const sighting of taken) this.domain(domainId).sightings.add(sighting);
  }

  /**
   * The closure of images, and of other files; the same object as long as the reference values are the same objects.
   * @param tag tells closures of the same images with other files apart.
   */
  closure(images: readonly ImageReference[], more: readonly FileTable[] = [], tag = ''): Closure {
    const key = [tag, ...images.map((image) => image.manifestDigest)].join(' ');
    const known = this.#closures.get(key);
    if (known?.isOf(images, more)) return known;
    const closure = new Closure(images, more);
    if (this.#closures.size >= MAX_CLOSURES) this.#closures.clear();
    this.#closures.set(key, closure);
    return closure;
  }

  #stateOf(owner: EntryOwner): OwnerState {
    switch (owner.kind) {
      case 'host':
        return this.host;
      case 'shared':
        return this.shared;
      case 'unattributed':
        return this.unattributed;
      case 'domain':
        return this.domain(owner.id);
    }
  }
}
