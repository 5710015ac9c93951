import type { Random } from './random.ts';

const NUMBERS = [0, 1, 2, 7, 8, 16, 31, 32, 64, 127, 128, 255, 256, 1024, 4096, 32767, 32768, 65535, 65536];
const EXTREMES = [0x7fffffff, 0x80000000, 0xffffffff, 0xfffffffe];

type Change = (bytes: Buffer, random: Random, mutator: Mutator) => Buffer;

/** Changes inputs: bits, bytes, numbers, words of the format, and parts of other inputs. */
export class Mutator {
  readonly #random: Random;
  readonly #maxBytes: number;
  readonly words: readonly Buffer[];

  constructor(random: Random, words: readonly (string | Uint8Array)[], maxBytes: number) {
    this.#random = random;
    this.#maxBytes = maxBytes;
    this.words = words.map((word) => Buffer.from(word as Uint8Array));
  }

  /** A changed copy of one of `corpus`, at most as long as the bound. */
  next(corpus: readonly Uint8Array[]): Uint8Array {
    const random = this.#random;
    // What came furthest last is worth most.
    const from = random.below(2) === 0 ? corpus.slice(-8) : corpus;
    let bytes: Buffer = Buffer.from(random.pick(from));
    if (random.below(8) === 0) bytes = splice(bytes, random.pick(corpus), random);
    for (let left = 1 + random.below(1 << random.below(5)); left > 0; left--) {
      bytes = random.pick(CHANGES)(bytes, random, this);
    }
    return new Uint8Array(bytes.subarray(0, this.#maxBytes));
  }
}

function splice(bytes: Buffer, other: Uint8Array, random: Random): Buffer {
  const at = random.below(bytes.length + 1);
  return Buffer.concat([bytes.subarray(0, at), other.subarray(random.below(other.length + 1))]);
}

const inPlace =
  (change: (bytes: Buffer, at: number, random: Random) => void): Change =>
  (bytes, random) => {
    if (bytes.length > 0) change(bytes, random.below(bytes.length), random);
    return bytes;
  };

function put(bytes: Buffer, at: number, removed: number, added: Uint8Array): Buffer {
  return Buffer.concat([bytes.subarray(0, at), added, bytes.subarray(at + removed)]);
}

const putNumber: Change = inPlace((bytes, at, random) => {
  const value = random.below(3) === 0 ? random.pick(EXTREMES) : random.pick(NUMBERS);
  const size = random.pick([1, 2, 4]);
  for (let i = 0; i < size && at + i < bytes.length; i++) {
    const shift = random.below(2) === 0 ? 8 * i : 8 * (size - 1 - i);
    bytes[at + i] = value >>> shift;
  }
});

const CHANGES: readonly Change[] = [
  inPlace((bytes, at, random) => {
    bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
  }),
  inPlace((bytes, at, random) => {
    bytes[at] = random.below(256);
  }),
  inPlace((bytes, at, random) => {
    bytes[at] = (bytes[at] ?? 0) + random.below(9) - 4;
  }),
  putNumber,
  putNumber,
  inPlace((bytes, at, random) => {
    bytes.copyWithin(at, random.below(bytes.length), random.below(bytes.length));
  }),
  (bytes, random) => bytes.subarray(0, random.below(bytes.length + 1)),
  (bytes, random) =>
    put(bytes, random.below(bytes.length + 1), 1 + random.below(1 << random.below(9)), Buffer.alloc(0)),
  (bytes, random) => {
    const from = random.below(bytes.length + 1);
    return put(bytes, random.below(bytes.length + 1), 0, bytes.subarray(from, from + 1 + random.below(64)));
  },
  (bytes, random) =>
    put(bytes, random.below(bytes.length + 1), 0, Buffer.alloc(1 + random.below(16), random.below(256))),
  (bytes, random, { words }) => {
    if (words.length === 0) return bytes;
    const word = random.pick(words);
    return put(bytes, random.below(bytes.length + 1), random.below(2) === 0 ? 0 : word.length, word);
  },
];
