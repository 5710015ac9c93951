import { LacreError } from '../lacre-error.ts';
import type { NodeObservation } from '../proto/lacre/v1/record_pb.ts';
import {
  type AttributionReason,
  type ClassifiedContainer,
  classifyContainers,
  isNodeWide,
  neighbourReasons,
} from './attribution.ts';
import { type Domain, DomainHistory, type DomainMemory, NO_REASONS } from './domain.ts';
import { RangeIndex } from './range-index.ts';
import type { ClaimedContainer } from './record.ts';
import { rangeKey } from './uid-map.ts';

/** Uid ranges that one node may record in one epoch. */
const MAX_DOMAINS = 65_536;
/** Containers remembered as not closed. */
const MAX_OPENED = 65_536;
/** One reason is enough to end exactness; a few tell an operator whom to look at. */
const MAX_NODE_WIDE = 64;

/** What is kept of an epoch's domains through a restart of the server. Plain JSON. */
export interface BookMemory {
  readonly domains: readonly DomainMemory[];
  /** What ended exactness for every range of the node. */
  readonly nodeWide: readonly AttributionReason[];
  /** Containers that were seen while not closed. */
  readonly opened: readonly string[];
}

/** What a node told: containers that are new or changed, ids that are gone, what was observed of the node itself. */
export interface ContainerNews {
  readonly changed: readonly ClaimedContainer[];
  readonly gone: readonly string[];
  /** `changed` are all that run. */
  readonly complete: boolean;
  readonly observation: NodeObservation;
}

/** How a container stands, with what is remembered of its epoch. */
export interface Standing extends ClassifiedContainer {
  readonly domainId: string;
  readonly rangeUse: 'fresh' | 'reused';
}

/** The running containers of one sandbox, and whether each domain that they are in was used by others. */
interface Pod {
  readonly ids: Set<string>;
  readonly reuses: Map<DomainHistory, boolean>;
}

/**
 * The domains of one node through one epoch: which containers run, whose uids are whose, and what took `exact` away.
 * All by claims of the node. A miss counts for the epoch (DESIGN section 5): what a process did while it could can't
 * be seen later.
 */
export class DomainBook {
  readonly #uidPoolBase: number;
  readonly #running = new Map<string, ClaimedContainer>();
  readonly #histories = new Map<string, DomainHistory>();
  readonly #nodeWide = new Map<string, AttributionReason>();
  readonly #opened: Set<string>;
  #misses = 0;
  #version = 0;
  readonly #ranges = new RangeIndex();
  #current = new Map<string, Standing>();

  /** @param uidPoolBase first uid of the node's pool. @param memory of the same epoch. */
  constructor(uidPoolBase: number, memory: BookMemory = { domains: [], nodeWide: [], opened: [] }) {
    this.#uidPoolBase = uidPoolBase;
    this.#opened = new Set(memory.opened);
    for (const domain of memory.domains) {
      const history = new DomainHistory(domain);
      this.#histories.set(history.id, history);
      if (domain.range !== undefined) this.#ranges.add({ range: domain.range, domainId: history.id });
    }
    for (const reason of memory.nodeWide) this.#rememberNodeWide(reason);
  }

  /** For ownerOf. */
  get ranges(): RangeIndex {
    return this.#ranges;
  }

  /** Grows with everything that is remembered against a container. */
  get misses(): number {
    return this.#misses;
  }

  /** Grows with whatever `memory` may hold. */
  get version(): number {
    return this.#version;
  }

  /** Takes in news of the node, and judges every container anew. Throws container.oversized. */
  apply(news: ContainerNews): void {
    this.#version++;
    if (news.complete) this.#running.clear();
    for (const id of news.gone) {
      this.#running.delete(id);
      this.#opened.delete(id);
    }
    for (const container of news.changed) this.#running.set(container.claim.id, container);
    // None of an ended container's processes is left: that it was open is no more than its domain remembers.
    if (news.complete) for (const id of this.#opened) if (!this.#running.has(id)) this.#opened.delete(id);
    const view = {
      containers: [...this.#running.values()],
      observation: news.observation,
      uidPoolBase: this.#uidPoolBase,
    };
    for (const reason of neighbourReasons(view)) this.#rememberNodeWide(reason);
    const pods = new Map<string, Pod>();
    const placed = [...classifyContainers(view)].map(([id, found]) => {
      const podId = found.container.claim.sandboxId || id;
      const pod = pods.get(podId) ?? { ids: new Set(), reuses: new Map() };
      pods.set(podId, pod);
      pod.ids.add(id);
      return { ...this.#place(found), id, pod };
    });
    this.#current = new Map(
      placed.map(({ id, standing, history, pod }) => [id, this.#withMemory(standing, history, pod)]),
    );
  }

  /** How a running container stands; undefined: no such container runs. */
  standing(containerId: string): Standing | undefined {
    return this.#current.get(containerId);
  }

  /** All that run. */
  standings(): Iterable<Standing> {
    return this.#current.values();
  }

  /** A domain of this epoch, with or without running containers. */
  domain(domainId: string): Domain | undefined {
    const history = this.#histories.get(domainId);
    const running = [...this.#current.values()].filter((standing) => standing.domainId === domainId);
    return history?.view(running.map((standing) => ({ id: standing.container.claim.id, classification: standing })));
  }

  /** Every domain of this epoch. */
  domains(): Domain[] {
    const members = Map.groupBy(this.#current.values(), (standing) => standing.domainId);
    return [...this.#histories.values()].map((history) =>
      history.view((members.get(history.id) ?? []).map((one) => ({ id: one.container.claim.id, classification: one }))),
    );
  }

  memory(): BookMemory {
    return {
      domains: [...this.#histories.values()].map((history) => history.memory()),
      nodeWide: [...this.#nodeWide.values()],
      opened: [...this.#opened],
    };
  }

  /** Finds the container's domain, and records it there with what is its own reason to be less than exact. */
  #place(seen: ClassifiedContainer): { standing: Omit<Standing, 'rangeUse'>; history: DomainHistory } {
    const { container } = seen;
    const { id } = container.claim;
    if (!seen.closed && this.#opened.size < MAX_OPENED && !this.#opened.has(id)) {
      this.#opened.add(id);
      this.#misses++;
    }
    const { history, reasons } = this.#historyOf(container);
    const own = [...seen.reasons.filter((reason) => !isNodeWide(reason)), ...reasons];
    if (history.record(container, own)) this.#misses++;
    const attribution = reasons.length > 0 ? 'host' : seen.attribution;
    return { standing: { ...seen, attribution, reasons: own, domainId: history.id }, history };
  }

  #historyOf(container: ClaimedContainer): { history: DomainHistory; reasons: AttributionReason[] } {
    const { range, claim } = container;
    if (range === undefined) {
      for (const { outside, length } of claim.uidMap.length > 1 ? claim.uidMap : []) {
        if (this.#ranges.size >= MAX_DOMAINS) throw tooMany();
        this.#ranges.add({ range: { base: outside, length }, domainId: undefined });
      }
      return { history: this.#history(undefined), reasons: [] };
    }
    if (range.base < this.#uidPoolBase) return { history: this.#history(undefined), reasons: [] };
    const conflicts = this.#ranges.conflicts(range);
    if (conflicts.length === 0) {
      const history = this.#history(range);
      this.#ranges.add({ range, domainId: history.id });
      return { history, reasons: [] };
    }
    const reason = (containerId: string): AttributionReason => ({
      code: 'range-overlap',
      containerId,
      detail: `uids ${range.base} to ${range.base + range.length - 1} overlap a range of this boot that is not the same`,
    });
    for (const { domainId } of conflicts) {
      if (domainId !== undefined && this.#histories.get(domainId)?.remember([reason(claim.id)])) this.#misses++;
    }
    return { history: this.#history(undefined), reasons: [reason(claim.id)] };
  }

  #rememberNodeWide(reason: AttributionReason): void {
    const key = `${reason.code} ${reason.containerId}`;
    if (this.#nodeWide.size >= MAX_NODE_WIDE || this.#nodeWide.has(key)) return;
    this.#nodeWide.set(key, reason);
    this.#misses++;
  }

  #history(range: ClaimedContainer['range']): DomainHistory {
    const key = rangeKey(range);
    const known = this.#histories.get(key);
    if (known !== undefined) return known;
    if (this.#ranges.size >= MAX_DOMAINS) throw tooMany();
    const made = new DomainHistory({ range, occupants: [], manifestDigests: [], reasons: [] });
    this.#histories.set(key, made);
    return made;
  }

  /** Adds what is remembered: of the domain, of the node, of the container. */
  #withMemory(standing: Omit<Standing, 'rangeUse'>, history: DomainHistory, pod: Pod): Standing {
    const { id } = standing.container.claim;
    const ofNode = [...this.#nodeWide.values()].filter((reason) => reason.containerId !== id).slice(0, 1);
    const known = new Set(standing.reasons.map((reason) => reason.code));
    const remembered = history.reasons.filter((reason) => !known.has(reason.code));
    const all = [...standing.reasons, ...remembered, ...ofNode.map((reason) => ({ ...reason, containerId: id }))];
    const reasons = all.length === 0 ? NO_REASONS : all;
    return {
      ...standing,
      attribution: standing.attribution === 'exact' && reasons.length > 0 ? 'shared' : standing.attribution,
      // Where no more can be remembered, nobody counts as closed.
      closed: standing.closed && !this.#opened.has(id) && this.#opened.size < MAX_OPENED,
      reasons,
      rangeUse: reuseOf(history, pod) ? 'reused' : 'fresh',
    };
  }
}

/** Looked up once for a whole pod, however many containers it has. */
function reuseOf(history: DomainHistory, { ids, reuses }: Pod): boolean {
  const known = reuses.get(history);
  if (known !== undefined) return known;
  const reused = history.isReused(ids);
  reuses.set(history, reused);
  return reused;
}

function tooMany(): LacreError {
  return new LacreError('container.oversized', `a node told of more than ${MAX_DOMAINS} uid ranges since it booted`, {
    maxDomains: MAX_DOMAINS,
  });
}
