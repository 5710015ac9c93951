import { type Finding, fatalFinding, toldFinding } from '../finding.ts';
import type { Verdict } from '../verdict.ts';
import { isRequirement, type Miss, missesOf, type Requirements, requirementsOf } from './requirement.ts';
import type { Selector } from './selector.ts';

/** What matching needs of a registration entry (SPIRE, types.Entry). */
export interface MatchableEntry {
  readonly id: string;
  readonly spiffeId: string;
  readonly parentId: string;
  readonly selectors: readonly Selector[];
}

/** An entry whose identity the workload may have. */
export interface EntryMatch<T extends MatchableEntry> {
  readonly entry: T;
  readonly requirements: Requirements;
}

export interface MatchResult<T extends MatchableEntry> {
  readonly matches: readonly EntryMatch<T>[];
  /** What each entry that fits otherwise is missing; where nothing fits at all, just that. */
  readonly findings: readonly Finding[];
}

/** A node, as parents of entries name it. Never changed: what is worked out of one is kept. */
export interface NodeIdentity {
  readonly spiffeId: string;
  /** "type:value": its verdict's, and what the inventory says of it. */
  readonly selectors: readonly string[];
}

/**
 * Entries of a trust domain, indexed for matching. SPIRE's semantics: an entry is a workload's where all of its selectors
 * are among the workload's, and its parent is the node, an alias of the node, or an entry that is the node's likewise.
 * Requirements (see requirement.ts) are compared instead of matched, and taken from all entries of the SPIFFE ID,
 * whichever node they are for.
 */
export class EntryIndex<T extends MatchableEntry> {
  readonly #byParent: Map<string, T[]>;
  readonly #bySpiffeId: Map<string, T[]>;
  readonly #requirements = new Map<string, Requirements>();
  readonly #nodes = new WeakMap<NodeIdentity, NodeEntries<T>>();
  readonly #serverId: string;

  /** @param serverId "spiffe://TRUST-DOMAIN/spire/server": parent of node aliases. */
  constructor(entries: readonly T[], serverId: string) {
    this.#byParent = Map.groupBy(entries, (entry) => entry.parentId);
    this.#bySpiffeId = Map.groupBy(entries, (entry) => entry.spiffeId);
    this.#serverId = serverId;
  }

  /** What a SPIFFE ID requires, by all of its entries. */
  requirements(spiffeId: string): Requirements {
    const requirements = this.#requirements.get(spiffeId) ?? requirementsOf(this.#bySpiffeId.get(spiffeId) ?? []);
    this.#requirements.set(spiffeId, requirements);
    return requirements;
  }

  /** Entries that a node may serve: below itself, below its aliases, and below those again. Aliases themselves are not. */
  ofNode({ spiffeId, selectors }: NodeIdentity): T[] {
    const own = new Set(selectors);
    const aliases = (this.#byParent.get(this.#serverId) ?? []).filter(
      (entry) => entry.selectors.length > 0 && holds(entry.selectors, own),
    );
    const pending = [spiffeId, ...aliases.map((alias) => alias.spiffeId)];
    const seen = new Set<string>();
    const entries: T[] = [];
    for (let parent = pending.pop(); parent !== undefined; parent = pending.pop()) {
      if (seen.has(parent) || parent === this.#serverId) continue;
      seen.add(parent);
      for (const entry of this.#byParent.get(parent) ?? []) {
        entries.push(entry);
        pending.push(entry.spiffeId);
      }
    }
    return entries;
  }

  /** Kept for as long as the identity is: whoever makes another of it has it worked out anew. */
  #nodeEntries(node: NodeIdentity): NodeEntries<T> {
    const known = this.#nodes.get(node) ?? new NodeEntries(this.ofNode(node));
    this.#nodes.set(node, known);
    return known;
  }

  /**
   * The entries of a trusted workload on a node. Nothing matches a verdict that is not trusted.
   * @param evidenceAgeMs of the evidence that the verdict stands on; 0 leaves its age aside.
   */
  match(verdict: Verdict, node: NodeIdentity, evidenceAgeMs: number): MatchResult<T> {
    if (!verdict.trusted) return { matches: [], findings: [] };
    const own = new Set(verdict.selectors);
    const fitting = this.#nodeEntries(node).fitting(own);
    if (fitting.length === 0) {
      return {
        matches: [],
        findings: [
          fatalFinding(
            'appraisal.entry.missing',
            verdict.subject,
            'no registration entry of this node matches the workload',
          ),
        ],
      };
    }
    const judged = fitting.map((entry) => {
      const requirements = this.requirements(entry.spiffeId);
      return { entry, requirements, misses: missesOf(requirements, own, evidenceAgeMs) };
    });
    const matches = judged
      .filter(({ misses }) => misses.length === 0)
      .map(({ entry, requirements }) => ({ entry, requirements }));
    const fatal = matches.length === 0;
    return {
      matches,
      findings: judged.flatMap(({ entry, misses }) =>
        misses.map((miss) => missFinding(verdict.subject, entry, miss, fatal)),
      ),
    };
  }
}

/** What is worked out of one node's entries once, for all of its workloads. */
class NodeEntries<T extends MatchableEntry> {
  /** Entries in their order, each below one of its selectors; those that match every workload below the empty one. */
  readonly #bySelector = new Map<string, { readonly order: number; readonly entry: T; readonly matched: string[] }[]>();

  constructor(entries: readonly T[]) {
    const usable = entries
      .map((entry, order) => ({ order, entry, matched: matchedOf(entry) }))
      .filter(({ entry }) => entry.selectors.length > 0);
    const uses = Map.groupBy(
      usable.flatMap(({ matched }) => matched),
      (text) => text,
    );
    for (const one of usable) {
      const counted = one.matched.map((text) => ({ text, count: uses.get(text)?.length }));
      const rarest = counted.toSorted((a, b) => Number(a.count) - Number(b.count))[0]?.text ?? '';
      const known = this.#bySelector.get(rarest);
      if (known === undefined) this.#bySelector.set(rarest, [one]);
      else known.push(one);
    }
  }

  /** Entries all of whose selectors are among these, in their order. */
  fitting(own: ReadonlySet<string>): T[] {
    const candidates = [...(this.#bySelector.get('') ?? [])];
    for (const text of own) for (const one of this.#bySelector.get(text) ?? []) candidates.push(one);
    return candidates
      .filter(({ matched }) => matched.every((text) => own.has(text)))
      .sort((a, b) => a.order - b.order)
      .map(({ entry }) => entry);
  }
}

/** "type:value" of what is matched rather than compared. */
function matchedOf({ selectors }: MatchableEntry): string[] {
  return selectors.filter((selector) => !isRequirement(selector)).map(({ type, value }) => `${type}:${value}`);
}

/** Selectors of a node for aliases: those of its host's verdict, and what the inventory knows. */
export function nodeSelectors(
  hostVerdict: Verdict,
  node: { readonly ekSha256Hex: string; readonly name: string },
): string[] {
  return [
    ...hostVerdict.selectors,
    `lacre:ek:sha256:${node.ekSha256Hex}`,
    ...(node.name === '' ? [] : [`lacre:node:${node.name}`]),
  ];
}

function holds(selectors: readonly Selector[], own: ReadonlySet<string>): boolean {
  return selectors.every(({ type, value }) => own.has(`${type}:${value}`));
}

function missFinding(
  subject: string,
  { spiffeId }: MatchableEntry,
  { what, required, found }: Miss,
  fatal: boolean,
): Finding {
  const detail = `${spiffeId} requires ${what} ${required}, and this workload has ${found}`;
  return (fatal ? fatalFinding : toldFinding)('appraisal.requirement.unmet', subject, detail);
}
