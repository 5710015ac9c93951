import type { Attribution, AttributionReason, Classification, ReasonCode } from './attribution.ts';
import { type ClaimedContainer, imageKeyOf } from './record.ts';
import { rangeKey, type UidRange } from './uid-map.ts';

/** Key of the domain of all containers that have no range of their own. */
export const SHARED_DOMAIN: string = rangeKey(undefined);

/** One for all that have none. */
export const NO_REASONS: readonly AttributionReason[] = [];

/** Containers and images remembered of one domain. */
const MAX_REMEMBERED = 4096;

/** A sandbox as it stands: one uid range and the containers in it, or all containers without a range (DESIGN section 5). */
export interface Domain {
  /** Stable for the epoch: "range:BASE+LENGTH", or "shared". */
  readonly id: string;
  readonly range: UidRange | undefined;
  /** Ids of those that run. */
  readonly containers: readonly string[];
  /** Of all images recorded in it, now or before in this epoch; of the configuration where no manifest is told (imageKeyOf). */
  readonly manifestDigests: ReadonlySet<string>;
  /** The weakest of its containers. */
  readonly attribution: Attribution;
  readonly reasons: readonly AttributionReason[];
  /** All of its containers are closed, and were whenever they were looked at. */
  readonly closed: boolean;
}

/** What a store keeps of a domain within an epoch. */
export interface DomainMemory {
  readonly range: UidRange | undefined;
  readonly occupants: readonly string[];
  readonly manifestDigests: readonly string[];
  readonly reasons: readonly AttributionReason[];
}

/**
 * What is remembered of one domain through an epoch. What once took `exact` away from it does so for the epoch, and
 * the images of containers that are gone stay in its closure: their entries stay in the list.
 */
export class DomainHistory {
  readonly id: string;
  readonly range: UidRange | undefined;
  readonly #occupants: Set<string>;
  readonly #manifestDigests: Set<string>;
  /** Undefined: there are none, as for most. */
  #reasons: Map<ReasonCode, AttributionReason> | undefined;

  constructor(memory: DomainMemory) {
    this.id = rangeKey(memory.range);
    this.range = memory.range;
    this.#occupants = new Set(memory.occupants);
    this.#manifestDigests = new Set(memory.manifestDigests);
    this.remember(memory.reasons);
  }

  get reasons(): readonly AttributionReason[] {
    return this.#reasons === undefined ? NO_REASONS : [...this.#reasons.values()];
  }

  /** True where containers other than those of this sandbox had the range before, or have it. */
  isReused(sandbox: ReadonlySet<string>): boolean {
    return this.#occupants.size >= MAX_REMEMBERED || [...this.#occupants].some((id) => !sandbox.has(id));
  }

  /** Records a container that runs in this domain, and why it is less than exact. */
  record(container: ClaimedContainer, reasons: readonly AttributionReason[]): boolean {
    const { id } = container.claim;
    const image = imageKeyOf(container.claim);
    if (this.#occupants.size < MAX_REMEMBERED) this.#occupants.add(id);
    // An image that is not remembered explains nothing: over the bound entries are only refused.
    if (image !== '' && this.#manifestDigests.size < MAX_REMEMBERED) this.#manifestDigests.add(image);
    return this.remember(reasons);
  }

  /** The first reason of each kind stays. True where one is new. */
  remember(reasons: readonly AttributionReason[]): boolean {
    let isNew = false;
    for (const reason of reasons) {
      if (this.#reasons?.has(reason.code) === true) continue;
      this.#reasons ??= new Map();
      this.#reasons.set(reason.code, reason);
      isNew = true;
    }
    return isNew;
  }

  memory(): DomainMemory {
    return {
      range: this.range,
      occupants: [...this.#occupants],
      manifestDigests: [...this.#manifestDigests],
      reasons: this.reasons,
    };
  }

  /** The domain with those of its containers that run. */
  view(running: readonly { readonly id: string; readonly classification: Classification }[]): Domain {
    const kinds = running.map(({ classification }) => classification.attribution);
    const weakest = kinds.includes('host') ? 'host' : kinds.includes('shared') ? 'shared' : 'exact';
    const remembered = this.#reasons === undefined ? 'exact' : 'shared';
    return {
      id: this.id,
      range: this.range,
      containers: running.map(({ id }) => id),
      manifestDigests: this.#manifestDigests,
      // Those without a range have only that in common: what makes one the host's says nothing of the others.
      attribution: this.range === undefined ? 'shared' : weakest === 'exact' ? remembered : weakest,
      reasons: allReasons(
        this.reasons,
        running.flatMap(({ classification }) => classification.reasons),
      ),
      closed: running.every(({ classification }) => classification.closed),
    };
  }
}

/** Reasons of the past, then those of the present that are of another kind or of another container. */
function allReasons(
  past: readonly AttributionReason[],
  present: readonly AttributionReason[],
): readonly AttributionReason[] {
  if (past.length === 0 && present.length === 0) return NO_REASONS;
  const all = new Map([...past, ...present].map((reason) => [`${reason.code} ${reason.containerId}`, reason]));
  return [...all.values()];
}
