import { LacreError } from '../lacre-error.ts';
import type { EndorsementRoot } from '../tpm/certificate-chain.ts';

/** New parked rows a minute: whoever reaches the port may write no more than this into the database. */
const PARKS_PER_MINUTE = 30;

/** Enrolments of one node at once: who knows the public half of its EK takes no place from other nodes. */
const PER_NODE = 2;

/** Bounds what peers that nobody knows yet can cost: enrolments at once, and parked rows over time. */
export class EnrolmentGate {
  readonly roots: readonly EndorsementRoot[];
  readonly #limit: number;
  readonly #byNode = new Map<string, number>();
  #open = 0;
  #parked = 0;
  #minute = 0;

  constructor(roots: readonly EndorsementRoot[], limit: number) {
    this.roots = roots;
    this.#limit = limit;
  }

  /** Takes a place for a node of the inventory; returns the function that gives it back. Codes: server.busy. */
  enter(ekSha256Hex: string): () => void {
    const ofNode = this.#byNode.get(ekSha256Hex) ?? 0;
    if (this.#open >= this.#limit || ofNode >= PER_NODE) {
      throw new LacreError('server.busy', `${this.#open} enrolments are under way; try again soon`);
    }
    this.#open += 1;
    this.#byNode.set(ekSha256Hex, ofNode + 1);
    return () => {
      this.#open -= 1;
      const left = (this.#byNode.get(ekSha256Hex) ?? 1) - 1;
      if (left === 0) this.#byNode.delete(ekSha256Hex);
      else this.#byNode.set(ekSha256Hex, left);
    };
  }

  /** Whether one more unknown EK may be written down at this time. */
  mayPark(now: Date): boolean {
    const minute = Math.floor(now.getTime() / 60_000);
    if (minute !== this.#minute) this.#parked = 0;
    this.#minute = minute;
    if (this.#parked >= PARKS_PER_MINUTE) return false;
    this.#parked += 1;
    return true;
  }
}
