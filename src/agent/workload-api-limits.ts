/** Bounds of the Workload API: no caller can take it from the others. */
export const WORKLOAD_LIMITS = {
  connections: 2048,
  connectionsPerUser: 1024,
  streams: 4096,
  streamsPerUser: 2048,
  streamsPerConnection: 32,
  /** From the start of a call to its request message. */
  requestMs: 10_000,
  /** A process that ends closes its unix socket by itself: this is for one that was stopped. */
  pingMs: 180_000,
  /** A connection without a stream ends then. */
  idleMs: 60_000,
} as const;

/** Counts connections and streams by the caller's user on the host: every container with a range of its own has its own users. */
export class ConnectionCounter {
  readonly #connections = new Map<number, number>();
  readonly #streams = new Map<number, number>();
  #allStreams = 0;

  /** False: this user has as many connections as are allowed. */
  enter(uid: number): boolean {
    return enter(this.#connections, uid, WORKLOAD_LIMITS.connectionsPerUser);
  }

  leave(uid: number): void {
    leave(this.#connections, uid);
  }

  enterStream(uid: number): boolean {
    if (this.#allStreams >= WORKLOAD_LIMITS.streams) return false;
    if (!enter(this.#streams, uid, WORKLOAD_LIMITS.streamsPerUser)) return false;
    this.#allStreams += 1;
    return true;
  }

  leaveStream(uid: number): void {
    this.#allStreams -= 1;
    leave(this.#streams, uid);
  }
}

function enter(counts: Map<number, number>, key: number, most: number): boolean {
  const count = counts.get(key) ?? 0;
  if (count >= most) return false;
  counts.set(key, count + 1);
  return true;
}

function leave(counts: Map<number, number>, key: number): void {
  const count = counts.get(key) ?? 0;
  if (count <= 1) counts.delete(key);
  else counts.set(key, count - 1);
}
