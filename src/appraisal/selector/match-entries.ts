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

/** A node, as parents of entries name it. */
export interface NodeIdentity {
  readonly spiffeId: string;
  /** "type:value": its verdict's, and what the inventory says of it. */
  readonly selectors: Iterable<string>;
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

  /**
   * The entries of a trusted workload on a node. Nothing matches a verdict that is not trusted.
   * @param evidenceAgeMs of the evidence that the verdict stands on; 0 leaves its age aside.
   */
  match(verdict: Verdict, node: NodeIdentity, evidenceAgeMs: number): MatchResult<T> {
    if (!verdict.trusted) return { matches: [], findings: [] };
    const own = new Set(verdict.selectors);
    const fitting = this.ofNode(node).filter(({ selectors }) => {
      const matched = selectors.filter((selector) => !isRequirement(selector));
      return selectors.length > 0 && holds(matched, own);
    });
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
