import { create } from '@bufbuild/protobuf';
import { type Event, EventSchema } from '../proto/lacre/v1/admin_pb.ts';
import type { Verdict } from '../proto/lacre/v1/verdict_pb.ts';

/** What changed in the store outside a node's session, so that sessions judge anew at once. */
export type Change =
  /** A registration entry was made, changed or deleted. */
  | { readonly kind: 'entries' }
  /** The trust domain's bundle changed (rotation of the authority). */
  | { readonly kind: 'bundle' }
  /** Reference values of an image were approved or deleted. */
  | { readonly kind: 'image'; readonly manifestDigest: string }
  /** Reference values of a host were approved or deleted. */
  | { readonly kind: 'host'; readonly name: string }
  /** A node was deleted from the inventory or banned: its session ends and what it holds is withdrawn. */
  | { readonly kind: 'node'; readonly ekSha256: string };

/** What a watcher is told; fields that are left out are empty on the wire. */
export interface Told {
  readonly kind: 'node' | 'issued' | 'refused' | 'withdrawn' | 'alert';
  readonly node?: string;
  readonly containerId?: string;
  readonly containerName?: string;
  readonly spiffeId?: string;
  readonly verdict?: Verdict;
  readonly sentence: string;
}

/** A watcher that lets more than this many events wait is dropped. */
const WATCH_QUEUE = 1024;
/** Watchers at once. */
const WATCHERS = 32;

/**
 * Signals within the server: changes made through the admin API go to the sessions, and what sessions do goes to the
 * watchers. A listener that throws is reported to `onFault` and does not keep the others from hearing.
 */
export class ServerEvents {
  readonly #changes = new Set<(change: Change) => void>();
  readonly #watchers = new Set<Watcher>();
  readonly #onFault: (error: unknown) => void;

  constructor(onFault: (error: unknown) => void = () => {}) {
    this.#onFault = onFault;
  }

  /** Call after the transaction that made the change has committed. */
  changed(change: Change): void {
    for (const listener of [...this.#changes]) {
      try {
        listener(change);
      } catch (error) {
        this.#onFault(error);
      }
    }
  }

  /** Returns a function that ends the subscription. */
  onChange(listener: (change: Change) => void): () => void {
    this.#changes.add(listener);
    return () => this.#changes.delete(listener);
  }

  tell(told: Told, at: Date): void {
    if (this.#watchers.size === 0) return;
    const event = create(EventSchema, { ...told, timeUnixMs: BigInt(at.getTime()) });
    for (const watcher of this.#watchers) watcher.push(event);
  }

  /** A stream of what is told from now on; undefined where there are too many watchers already. */
  watch(signal: AbortSignal): AsyncIterable<Event> | undefined {
    if (this.#watchers.size >= WATCHERS) return undefined;
    const watcher = new Watcher(signal, () => this.#watchers.delete(watcher));
    this.#watchers.add(watcher);
    return watcher;
  }
}

/** Queue of one watcher: ends by its signal, or when it is too slow (`overrun`). */
export class Watcher implements AsyncIterable<Event> {
  readonly #queue: Event[] = [];
  readonly #onEnd: () => void;
  #wake: (() => void) | undefined;
  #ended = false;
  overrun = false;

  constructor(signal: AbortSignal, onEnd: () => void) {
    this.#onEnd = onEnd;
    if (signal.aborted) this.end();
    else signal.addEventListener('abort', () => this.end(), { once: true });
  }

  push(event: Event): void {
    if (this.#ended) return;
    if (this.#queue.length >= WATCH_QUEUE) {
      this.overrun = true;
      this.end();
      return;
    }
    this.#queue.push(event);
    this.#wake?.();
  }

  end(): void {
    this.#ended = true;
    this.#onEnd();
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<Event> {
    try {
      for (;;) {
        const event = this.#queue.shift();
        if (event !== undefined) yield event;
        else if (this.#ended) return;
        else await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    } finally {
      this.end();
    }
  }
}
