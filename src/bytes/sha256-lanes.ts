import { INITIAL_STATE, LAYOUT, ROUND_CONSTANTS, type Sha256Exports, sha256Module } from './sha256-module.ts';

const LANES = 4;
const TAIL_BYTES = 128;
const MEMORY_BYTES = 1 << 20;

/**
 * SHA-256 of many short messages, and folds into PCRs, at a third of what a call of OpenSSL from JavaScript costs for
 * each. Made for the measurement list, whose entries are public: nothing here is for secrets.
 */
export class Sha256Lanes {
  /** Bytes that `load` takes. */
  static readonly CAPACITY: number = MEMORY_BYTES - LAYOUT.data;
  /** Values that folds can leave. */
  static readonly VALUES: number = (LAYOUT.data - LAYOUT.values) / 32;
  readonly #code: Sha256Exports;
  readonly #bytes: Uint8Array;
  /** State of the lanes: word by word, a lane beside the other. */
  readonly #state: Uint32Array;
  readonly #initial = new Uint32Array(8 * LANES);
  readonly #starts = new Int32Array(LANES);
  readonly #lengths = new Int32Array(LANES);
  readonly #blocks = new Int32Array(LANES);
  readonly #at = new Int32Array(LANES);

  constructor() {
    this.#code = instantiate();
    this.#bytes = new Uint8Array(this.#code.memory.buffer);
    this.#state = new Uint32Array(this.#code.memory.buffer, LAYOUT.lanes, 8 * LANES);
    const constants = new Uint32Array(this.#code.memory.buffer, LAYOUT.constants, 64 * LANES);
    constants.forEach((_, at) => {
      constants[at] = ROUND_CONSTANTS[Math.floor(at / LANES)] ?? 0;
    });
    this.#initial.forEach((_, at) => {
      this.#initial[at] = INITIAL_STATE[Math.floor(at / LANES)] ?? 0;
    });
  }

  /** Takes the bytes from `start` to `end`, in which the next messages lie: at most CAPACITY. */
  load(source: Uint8Array, start: number, end: number): void {
    this.#bytes.set(source.subarray(start, end), LAYOUT.data);
  }

  /** Message of a lane (0 to 3): offsets in what was loaded. */
  set(lane: number, start: number, end: number): void {
    const length = end - start;
    this.#starts[lane] = LAYOUT.data + start;
    this.#lengths[lane] = length;
    this.#blocks[lane] = (length + 8 + 64) >> 6;
  }

  /** Hashes the messages of the first `count` lanes. */
  run(count: number): void {
    this.#state.set(this.#initial);
    let most = 0;
    for (let lane = 0; lane < LANES; lane++) {
      if (lane >= count) this.#blocks[lane] = 0;
      else this.#code.tail(this.#starts[lane] ?? 0, this.#lengths[lane] ?? 0, LAYOUT.tails + TAIL_BYTES * lane);
      most = Math.max(most, this.#blocks[lane] ?? 0);
    }
    for (let block = 0; block < most; block++) {
      for (let lane = 0; lane < LANES; lane++) this.#at[lane] = this.#address(lane, block);
      const at = this.#at;
      this.#code.lanes(at[0] ?? 0, at[1] ?? 0, at[2] ?? 0, at[3] ?? 0);
      for (let lane = 0; lane < LANES; lane++)
        if (this.#blocks[lane] === block + 1) this.#code.digest(LAYOUT.lanes + 4 * lane, LAYOUT.digests + 32 * lane);
    }
  }

  /** Digest of a lane: 32 bytes, a view that the next run overwrites. */
  digest(lane: number): Uint8Array {
    return this.#bytes.subarray(LAYOUT.digests + 32 * lane, LAYOUT.digests + 32 * lane + 32);
  }

  /** Three PCRs, 96 bytes. */
  setPcrs(values: Uint8Array): void {
    this.#bytes.set(values, LAYOUT.pcrs);
  }

  /** As `setPcrs`: a view. */
  pcrs(): Uint8Array {
    return this.#bytes.subarray(LAYOUT.pcrs, LAYOUT.pcrs + 96);
  }

  /** PCR `slot` := SHA-256(PCR ‖ digest of the lane); what it is then stays as value `at`, below VALUES. */
  fold(slot: number, lane: number, at: number): void {
    this.#code.fold(LAYOUT.pcrs + 32 * slot, LAYOUT.digests + 32 * lane, LAYOUT.values + 32 * at);
  }

  /** The first `count` values that folds left, 32 bytes each: a view. */
  values(count: number): Uint8Array {
    return this.#bytes.subarray(LAYOUT.values, LAYOUT.values + 32 * count);
  }

  /** Where a lane's block lies: in the message, or in its padded end; a lane without more takes any. */
  #address(lane: number, block: number): number {
    const whole = (this.#lengths[lane] ?? 0) >> 6;
    if (block >= (this.#blocks[lane] ?? 0)) return LAYOUT.data;
    if (block < whole) return (this.#starts[lane] ?? 0) + 64 * block;
    return LAYOUT.tails + TAIL_BYTES * lane + 64 * (block - whole);
  }
}

/** What Node has of WebAssembly, as far as it is used here. */
interface Engine {
  readonly Module: new (bytes: Uint8Array<ArrayBuffer>) => object;
  readonly Instance: new (module: object) => { readonly exports: unknown };
}

let compiled: object | undefined;

function instantiate(): Sha256Exports {
  const engine = (globalThis as unknown as { readonly WebAssembly: Engine }).WebAssembly;
  compiled ??= new engine.Module(sha256Module());
  return new engine.Instance(compiled).exports as Sha256Exports;
}
