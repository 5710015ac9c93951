/** Gives every key of a map its turn once in a period, however often it is asked. */
export class Round<K> {
  readonly #map: ReadonlyMap<K, unknown>;
  readonly #periodMs: number;
  #keys: Iterator<K> = [][Symbol.iterator]();
  /** Turns that are due, with a part of one. */
  #due = 0;
  #askedAtMs: number;

  /** @param nowMs monotonic milliseconds, as in `due` */
  constructor(map: ReadonlyMap<K, unknown>, periodMs: number, nowMs: number) {
    this.#map = map;
    this.#periodMs = periodMs;
    this.#askedAtMs = nowMs;
  }

  /** Whose turn has come since the last call. */
  due(nowMs: number): K[] {
    const { size } = this.#map;
    const turns = (size * Math.max(nowMs - this.#askedAtMs, 0)) / this.#periodMs;
    this.#due = Math.min(this.#due + turns, size);
    this.#askedAtMs = nowMs;
    const keys: K[] = [];
    for (; this.#due >= 1; this.#due -= 1) keys.push(...this.#next());
    return keys;
  }

  #next(): K[] {
    const next = this.#keys.next();
    if (next.done !== true) return [next.value];
    this.#keys = this.#map.keys();
    const first = this.#keys.next();
    return first.done === true ? [] : [first.value];
  }
}
