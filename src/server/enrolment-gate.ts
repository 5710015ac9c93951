import { LacreError } from '../lacre-error.ts';
import type { EndorsementRoot } from '../tpm/certificate-chain.ts';

/** New parked rows a minute: whoever reaches the port may write no more than this into the database. */
const PARKS_PER_MINUTE = 30;

/** Bounds what peers that nobody knows yet can cost: enrolments at once, and parked rows over time. */
export class EnrolmentGate {
  readonly roots: readonly EndorsementRoot[];
  readonly #limit: number;
  #open = 0;
  #parked = 0;
  #minute = 0;

  constructor(roots: readonly EndorsementRoot[], limit: number) {
    this.roots = roots;
    this.#limit = limit;
  }

  /** Takes a place; returns the function that gives it back. Codes: server.limit. */
  enter(): () => void {
    if (this.#open >= this.#limit) {
      throw new LacreError('server.busy', `${this.#limit} enrolments are under way; try again soon`);
    }
    this.#open += 1;
    return () => {
      this.#open -= 1;
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
