import { LacreError } from '../lacre-error.ts';

/** SVIDs that one container may have at once, withdrawn ones among them: at five minutes each, some ten a second for ever. */
const PER_CONTAINER = 4096;
/** All containers of one node together. */
const PER_NODE = 65_536;
const MAX_CONTAINERS = 8192;

/**
 * How many SVIDs of a node have not ended yet (DESIGN section 9, limits per container and node). Every one costs a row of
 * the ledger for ever: a container that asks without end must not fill the disk that all others need.
 */
export class IssueBudget {
  readonly #perContainer: number;
  readonly #perNode: number;
  /** Ends of SVIDs by container, Unix milliseconds, about in order. */
  readonly #ends = new Map<string, number[]>();
  #count = 0;

  constructor(perContainer: number = PER_CONTAINER, perNode: number = PER_NODE) {
    this.#perContainer = perContainer;
    this.#perNode = perNode;
  }

  /** Codes: server.limit, until enough of what the container or its node has comes to its end. */
  requireRoom(containerId: string, now: Date): void {
    this.#forget(containerId, now);
    const own = this.#ends.get(containerId)?.length ?? 0;
    if (own < this.#perContainer && this.#count < this.#perNode) return;
    for (const id of [...this.#ends.keys()]) this.#forget(id, now);
    if (own < this.#perContainer && this.#count < this.#perNode) return;
    const sentence =
      own < this.#perContainer
        ? `the node has ${this.#count} SVIDs that have not ended`
        : `the container has ${own} SVIDs that have not ended`;
    throw new LacreError('server.limit', sentence, { containerId });
  }

  /** An SVID was, or is about to be, issued. */
  add(containerId: string, until: Date, now: Date): void {
    if (this.#ends.size >= MAX_CONTAINERS) for (const id of [...this.#ends.keys()]) this.#forget(id, now);
    const ends = this.#ends.get(containerId);
    if (ends === undefined) this.#ends.set(containerId, [until.getTime()]);
    else ends.push(until.getTime());
    this.#count += 1;
  }

  #forget(containerId: string, now: Date): void {
    const ends = this.#ends.get(containerId);
    if (ends === undefined || (ends[0] ?? 0) > now.getTime()) return;
    const left = ends.filter((end) => end > now.getTime());
    this.#count -= ends.length - left.length;
    if (left.length === 0) this.#ends.delete(containerId);
    else this.#ends.set(containerId, left);
  }
}
