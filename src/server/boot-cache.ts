import { parseEventLog } from '../boot/event-log.ts';
import { bankOf, type ReplayedBoot, replayEventLog } from '../boot/replayed-boot.ts';
import { sha256Hex } from '../bytes/sha256.ts';

/** Logs that are kept, by number and by their bytes; those that were used longest ago go first. */
const BOUNDS = { logs: 256, bytes: 32 * 1024 * 1024 } as const;

interface Known {
  readonly boot: ReplayedBoot;
  readonly byteLength: number;
}

/**
 * Boots by their whole event log: nodes alike boot alike, and a node comes back with the log that it had. A log that cannot
 * be replayed is not kept.
 */
export class BootCache {
  readonly #bounds: { readonly logs: number; readonly bytes: number };
  readonly #known = new Map<string, Known>();
  #bytes = 0;

  constructor(bounds: { readonly logs: number; readonly bytes: number } = BOUNDS) {
    this.#bounds = bounds;
  }

  get size(): number {
    return this.#known.size;
  }

  /** As parseEventLog and replayEventLog, in the log's bank. Codes: boot.*. */
  replay(eventLog: Uint8Array): { readonly boot: ReplayedBoot; readonly sha256Hex: string } {
    const digest = sha256Hex(eventLog);
    const known = this.#known.get(digest) ?? replayed(eventLog);
    this.#forget(digest);
    this.#known.set(digest, known);
    this.#bytes += known.byteLength;
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= this.#bounds.logs && this.#bytes <= this.#bounds.bytes) break;
      this.#forget(oldest);
    }
    return { boot: known.boot, sha256Hex: digest };
  }

  #forget(digest: string): void {
    this.#bytes -= this.#known.get(digest)?.byteLength ?? 0;
    this.#known.delete(digest);
  }
}

/** Of a copy: what is kept must not hold on to a message. */
function replayed(eventLog: Uint8Array): Known {
  const events = parseEventLog(eventLog.slice());
  return { boot: replayEventLog(events, bankOf(events)), byteLength: eventLog.length };
}
