/** What appraisal takes from an entry of the measurement list (src/ima); positions and PCR are proven by the quote that covers it. */
export interface Measured {
  readonly index: number;
  readonly pcr: number;
  readonly template: string;
  readonly path: string;
  readonly kind: string;
  /** Only where the digest can be compared. */
  readonly fileDigest: { readonly algorithm: string; readonly hex: string } | undefined;
  readonly digestState: 'usable' | 'zero' | 'refused';
  readonly violation: boolean;
  readonly iuid: number | undefined;
  readonly buffer?: Uint8Array | undefined;
}

/** Where an entry belongs (src/container). */
export type EntryOwner =
  | { readonly kind: 'domain'; readonly id: string }
  | { readonly kind: 'shared' }
  | { readonly kind: 'unattributed' }
  | { readonly kind: 'host' };

/** One file with one content, as it was first seen by one owner. */
export interface Sighting {
  readonly path: string;
  readonly algorithm: string;
  /** Digest of the file, of the kind that `digestState` says; empty unless usable. */
  readonly hex: string;
  readonly digestState: 'usable' | 'zero' | 'refused';
  readonly kind: string;
  readonly pcr: number;
  readonly index: number;
  readonly template: string;
  readonly iuid: number | undefined;
  readonly buffer: Uint8Array | undefined;
}

/** PCR 10 holds what was executed or mapped as code. */
export const EXECUTED_PCR = 10;
/** PCR 13 holds what containers read (DESIGN section 3.9). */
export const READ_PCR = 13;
/** PCR 14 holds what was executed from untrusted file systems (DESIGN section 4). */
export const UNTRUSTED_PCR = 14;

/** The different files that one owner was seen with, in the order of the list. Bounded; O(1) per entry. */
export class SightingSet {
  readonly #keys = new Map<string, Sighting>();
  readonly #list: Sighting[] = [];
  readonly #max: number;
  readonly #byOwner: boolean;
  #dropped = 0;

  /** @param byOwner files of different uids are kept apart, as their owner may become known later. */
  constructor(max: number, byOwner = false) {
    this.#max = max;
    this.#byOwner = byOwner;
  }

  get list(): readonly Sighting[] {
    return this.#list;
  }

  /** Files that did not fit: whoever owns them can no longer be judged. */
  get dropped(): number {
    return this.#dropped;
  }

  /** False where it was there already, or does not fit. */
  add(sighting: Sighting): boolean {
    const key = this.#keyOf(sighting);
    if (this.#keys.has(key)) return false;
    if (this.#list.length >= this.#max) {
      this.#dropped++;
      return false;
    }
    this.#keys.set(key, sighting);
    this.#list.push(sighting);
    return true;
  }

  /** Whether a file with one of these contents was executed, as entries of containers say it. */
  wasExecuted(path: string, digests: Iterable<string>): boolean {
    const entry = { pcr: EXECUTED_PCR, template: 'evm-sig', digestState: 'usable' as const, path };
    const wanted = new Set([...digests].map((hex) => keyOf({ ...entry, hex })));
    if (this.#byOwner) return this.#list.some((sighting) => wanted.has(keyOf(sighting)));
    return [...wanted].some((key) => this.#keys.has(key));
  }

  /** Takes out what fulfils a condition. */
  take(condition: (sighting: Sighting) => boolean): Sighting[] {
    const taken = this.#list.filter(condition);
    if (taken.length === 0) return taken;
    const kept = this.#list.filter((sighting) => !condition(sighting));
    this.#list.splice(0, this.#list.length, ...kept);
    for (const sighting of taken) this.#keys.delete(this.#keyOf(sighting));
    return taken;
  }

  #keyOf(sighting: Sighting): string {
    return this.#byOwner ? `${sighting.iuid} ${keyOf(sighting)}` : keyOf(sighting);
  }
}

/** The sighting of an entry. */
export function sightingOf(entry: Measured): Sighting {
  return {
    path: entry.path,
    algorithm: entry.fileDigest?.algorithm ?? '',
    hex: entry.fileDigest?.hex ?? '',
    digestState: entry.fileDigest === undefined && entry.digestState === 'usable' ? 'zero' : entry.digestState,
    kind: entry.kind,
    pcr: entry.pcr,
    index: entry.index,
    template: entry.template,
    iuid: entry.iuid,
    buffer: entry.buffer,
  };
}

function keyOf({
  pcr,
  template,
  digestState,
  hex,
  path,
}: Pick<Sighting, 'pcr' | 'template' | 'digestState' | 'hex' | 'path'>): string {
  return `${pcr} ${template} ${digestState} ${hex} ${path}`;
}
