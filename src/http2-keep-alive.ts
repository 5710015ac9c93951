import type { ServerHttp2Session } from 'node:http2';

export interface KeepAlive {
  readonly pingMs: number;
  /** A connection without a stream ends after this time and at most as much again, or a ping's if that is shorter. */
  readonly idleMs: number;
}

/** By how much a timer may ring early. */
const TIMER_MS = 50;

/** Ends a connection whose peer answers no ping (it is gone, or stopped), and one that has no stream for too long. */
export function keepAlive(session: ServerHttp2Session, limits: KeepAlive): void {
  const kept = new KeptAlive(session, limits);
  session.on('stream', (stream) => {
    kept.streamOpened();
    stream.once('close', () => kept.streamClosed());
  });
  const timer = setInterval(
    () => {
      if (!kept.check()) clearInterval(timer);
    },
    Math.min(limits.pingMs, limits.idleMs),
  );
  timer.unref();
  session.once('close', () => clearInterval(timer));
}

/** The same for all connections of a listener, with one timer while there are any. */
export class KeepAliveSweep {
  readonly #limits: KeepAlive;
  readonly #kept = new Set<KeptAlive>();
  #timer: NodeJS.Timeout | undefined;

  constructor(limits: KeepAlive) {
    this.#limits = limits;
  }

  /** Who gets this tells it of each stream, and `remove` of the connection's end. */
  add(session: ServerHttp2Session): KeptAlive {
    const kept = new KeptAlive(session, this.#limits);
    this.#kept.add(kept);
    this.#timer ??= setInterval(() => this.#check(), sweepMs(this.#limits)).unref();
    return kept;
  }

  remove(kept: KeptAlive): void {
    this.#kept.delete(kept);
    if (this.#kept.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #check(): void {
    for (const kept of [...this.#kept]) if (!kept.check()) this.remove(kept);
  }
}

/** Often enough that the pings of connections which came at different times go out at different times. */
function sweepMs({ pingMs, idleMs }: KeepAlive): number {
  return Math.min(pingMs, idleMs) / 4;
}

/** One connection, and whether its peer is there. */
export class KeptAlive {
  readonly #session: ServerHttp2Session;
  readonly #limits: KeepAlive;
  #streams = 0;
  #idleSinceMs = performance.now();
  #pingedAtMs = this.#idleSinceMs;
  #answered = true;

  constructor(session: ServerHttp2Session, limits: KeepAlive) {
    this.#session = session;
    this.#limits = limits;
  }

  streamOpened(): void {
    this.#streams += 1;
  }

  streamClosed(): void {
    this.#streams -= 1;
    this.#idleSinceMs = performance.now();
  }

  /** Asks the peer where that is due. False: the connection is over. */
  check(): boolean {
    const session = this.#session;
    const nowMs = performance.now();
    const idle = this.#streams === 0 && nowMs - this.#idleSinceMs > this.#limits.idleMs;
    if (idle || !this.#answered || session.destroyed) {
      session.destroy();
      return false;
    }
    if (nowMs - this.#pingedAtMs < this.#limits.pingMs - TIMER_MS) return true;
    this.#answered = false;
    this.#pingedAtMs = nowMs;
    session.ping((error) => {
      this.#answered = error === null;
    });
    return true;
  }
}
