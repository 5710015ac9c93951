import { EntryIndex, type MatchResult, type NodeIdentity, nodeSelectors } from '../appraisal/selector/match-entries.ts';
import { DEFAULT_EVIDENCE_AGE_MS, missesOf } from '../appraisal/selector/requirement.ts';
import type { Verdict } from '../appraisal/verdict.ts';
import { nodeSelectors as inventorySelectors } from './admin-spire-agent.ts';
import type { ServerDeps } from './server-deps.ts';
import type { Store } from './store.ts';
import type { EntryRow } from './store-entries.ts';
import type { NodeRow } from './store-nodes.ts';

export interface MatchedEntry {
  readonly entry: EntryRow;
}

/** All entries of the trust domain, indexed; one index for each store, made anew when entries change. */
const indexes = new WeakMap<Store, { index: EntryIndex<EntryRow> | undefined }>();

function indexOf({ store, events, config }: ServerDeps): EntryIndex<EntryRow> {
  let held = indexes.get(store);
  if (held === undefined) {
    const made: { index: EntryIndex<EntryRow> | undefined } = { index: undefined };
    events.prependListener('entriesChanged', () => {
      made.index = undefined;
    });
    indexes.set(store, made);
    held = made;
  }
  held.index ??= new EntryIndex(store.entries.list(), `${config.trustDomain.uri}/spire/server`);
  return held.index;
}

/** The registration entries as one session's node has them. */
export class AnswerEntries {
  readonly #deps: ServerDeps;
  readonly #node: NodeRow;
  #identity: NodeIdentity;
  #smallestAgeMs: number | undefined;
  /** When entries of this node expire, Unix seconds: worked out once for an index and an identity, and asked at every quote. */
  #ends: { readonly index: object; readonly identity: NodeIdentity; readonly times: readonly number[] } | undefined;

  constructor(deps: ServerDeps, node: NodeRow) {
    this.#deps = deps;
    this.#node = node;
    this.#identity = { spiffeId: node.spiffeId, selectors: [] };
  }

  /** The host's newest verdict: what it says of the node counts for node aliases. */
  appraised(host: Verdict): void {
    const known = inventorySelectors(this.#node).map(({ type, value }) => `${type}:${value}`);
    const selectors = [...nodeSelectors(host, this.#node), ...known];
    if (sameTexts(selectors, this.#identity.selectors)) return;
    this.#identity = { spiffeId: this.#node.spiffeId, selectors };
    this.#smallestAgeMs = undefined;
  }

  forget(): void {
    this.#smallestAgeMs = undefined;
  }

  /** The youngest evidence that any entry of this node asks for, in milliseconds. */
  get smallestAgeMs(): number {
    if (this.#smallestAgeMs === undefined) {
      const index = indexOf(this.#deps);
      const ids = new Set(index.ofNode(this.#identity).map(({ spiffeId }) => spiffeId));
      const ages = [...ids].map((spiffeId) => index.requirements(spiffeId).maxEvidenceAgeMs).filter((age) => age > 0);
      this.#smallestAgeMs = Math.min(DEFAULT_EVIDENCE_AGE_MS, ...ages);
    }
    return this.#smallestAgeMs;
  }

  /** Entries that have not expired, and whose identity a workload with this verdict may have. */
  match(verdict: Verdict, evidenceAgeMs: number): MatchResult<EntryRow> {
    const result = indexOf(this.#deps).match(verdict, this.#identity, evidenceAgeMs);
    const now = this.#deps.clock.now().getTime() / 1000;
    return { ...result, matches: result.matches.filter(({ entry }) => entry.expiresAt === 0 || entry.expiresAt > now) };
  }

  /** Whether an entry of this node has expired between two times. */
  hasExpired(since: Date, now: Date): boolean {
    const [from, to] = [since.getTime() / 1000, now.getTime() / 1000];
    return this.#endTimes().some((time) => time > from && time <= to);
  }

  #endTimes(): readonly number[] {
    const index = indexOf(this.#deps);
    const identity = this.#identity;
    if (this.#ends?.index !== index || this.#ends.identity !== identity) {
      const ending = index.ofNode(identity).filter(({ expiresAt }) => expiresAt > 0);
      this.#ends = { index, identity, times: ending.map(({ expiresAt }) => expiresAt) };
    }
    return this.#ends.times;
  }

  /** Whether a SPIFFE ID requires what a workload with this verdict has not, by whichever of its entries it came. */
  asksMore(spiffeId: string, { selectors }: Verdict): boolean {
    return missesOf(indexOf(this.#deps).requirements(spiffeId), new Set(selectors), 0).length > 0;
  }
}

function sameTexts(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((text, index) => text === other[index]);
}
