import { create } from '@bufbuild/protobuf';
import { Verdict, verdictMessage } from '../appraisal/verdict.ts';
import { type Event, EventSchema } from '../proto/lacre/v1/admin_pb.ts';
import type { Verdict as VerdictMessage } from '../proto/lacre/v1/verdict_pb.ts';
import type { ServerDeps, ServerEvents } from './server-deps.ts';

/** What a watcher is told; fields that are left out are empty on the wire. */
export interface Told {
  readonly kind: 'node' | 'issued' | 'refused' | 'withdrawn' | 'alert';
  readonly node?: string;
  readonly containerId?: string;
  readonly containerName?: string;
  readonly spiffeId?: string;
  readonly verdict?: Verdict | VerdictMessage;
  readonly sentence: string;
}

/** A watcher that lets more than this many events wait is dropped. */
const WATCH_QUEUE = 1024;

/** Tells every watcher (lacre.v1.Admin.Watch) and writes the same sentence to the log. Call after the commit. */
export function tell(deps: Pick<ServerDeps, 'events' | 'log' | 'clock'>, told: Told): void {
  const { verdict, sentence, ...facts } = told;
  deps.log.info({ ...facts, trusted: verdict?.trusted }, sentence);
  if (deps.events.listenerCount('told') === 0) return;
  const event = create(EventSchema, {
    ...facts,
    sentence,
    ...(verdict && { verdict: Verdict.isVerdict(verdict) ? verdictMessage(verdict) : verdict }),
    timeUnixMs: BigInt(deps.clock.now().getTime()),
  });
  deps.events.emit('told', event);
}

/**
 * The events from now on, until `signal` aborts or the reader is too slow: then `overrun` is true and the iteration
 * ends after what had been queued.
 */
export class Watcher implements AsyncIterable<Event> {
  readonly #queue: Event[] = [];
  readonly #events: ServerEvents;
  readonly #limit: number;
  #wake: (() => void) | undefined;
  #ended = false;
  #overrun = false;

  constructor(events: ServerEvents, signal: AbortSignal, limit = WATCH_QUEUE) {
    this.#events = events;
    this.#limit = limit;
    events.on('told', this.#push);
    if (signal.aborted) this.end();
    else signal.addEventListener('abort', () => this.end(), { once: true });
  }

  get overrun(): boolean {
    return this.#overrun;
  }

  end(): void {
    this.#ended = true;
    this.#events.off('told', this.#push);
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<Event> {
    try {
      for (;;) {
        const event = this.#queue.shift();
        if (event !== undefined) yield event;
        else if (this.#ended) return;
        else await this.#next();
      }
    } finally {
      this.end();
    }
  }

  readonly #push = (event: Event): void => {
    if (this.#queue.length >= this.#limit) {
      this.#overrun = true;
      this.end();
      return;
    }
    this.#queue.push(event);
    this.#wake?.();
  };

  #next(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}
