// SHA-256 (FIPS 180-4) as a WebAssembly module, put together when it is first used: four messages at once in the four
// lanes of a vector, and the fold of one digest into a PCR. No toolchain is needed, and there is no binary to trust.

/** Where things lie in the module's memory, in bytes. */
export const LAYOUT = {
  /** Eight vectors: word t of the state, of four messages. */
  lanes: 0,
  /** 64 vectors: constant t of FIPS 180-4, 4.2.2, four times. */
  constants: 128,
  /** Three PCRs of 32 bytes. */
  pcrs: 1152,
  /** For each message its last one or two blocks, padded. */
  tails: 1280,
  /** For each message its digest, 32 bytes. */
  digests: 1792,
  /** Values that folds gave, 32 bytes each. */
  values: 2048,
  /** The messages. */
  data: 16_384,
} as const;

/** What the module offers. Addresses are of bytes in its memory. */
export interface Sha256Exports {
  readonly memory: { readonly buffer: ArrayBuffer };
  /** Takes the next block of 64 bytes of each of four messages. */
  lanes(block0: number, block1: number, block2: number, block3: number): void;
  /** Writes the digest of the message whose words begin at `lane` (LAYOUT.lanes and 4 for each message). */
  digest(lane: number, target: number): void;
  /** Writes what remains of a message behind its last whole block, with its padding. */
  tail(message: number, length: number, target: number): void;
  /** PCR := SHA-256(PCR ‖ digest), and a copy of it at `target`. */
  fold(pcr: number, digest: number, target: number): void;
}

const MEMORY_PAGES = 16;
/** FIPS 180-4, 4.2.2 and 5.3.3: of the roots of the first primes, the first 32 bits of the fraction. */
export const ROUND_CONSTANTS: readonly number[] = primes(64).map((prime) => fraction(Math.cbrt(prime)));
export const INITIAL_STATE: readonly number[] = primes(8).map((prime) => fraction(Math.sqrt(prime)));

const I32 = 0x7f;
const V128 = 0x7b;
const VECTOR = 0xfd;

type Code = number[];

/** Operations on words, as the numbers of one message or as vectors of four. Each pushes its result. */
interface Words {
  readonly type: typeof I32 | typeof V128;
  readonly add: Code;
  readonly xor: Code;
  /** Of a local: rotations, then a shift where there is one, all XORed. */
  sigma(local: number, rotations: readonly number[], shift?: number): Code;
  choose(e: number, f: number, g: number): Code;
  majority(a: number, b: number, c: number): Code;
  constant(round: number): Code;
}

const SCALAR: Words = {
  type: I32,
  add: [0x6a],
  xor: [0x73],
  sigma: (local, rotations, shift) => [
    ...rotations.flatMap((bits, at) => [...get(local), ...i32(bits), 0x78, ...(at > 0 ? [0x73] : [])]),
    ...(shift === undefined ? [] : [...get(local), ...i32(shift), 0x76, 0x73]),
  ],
  // g ^ (e & (f ^ g))
  choose: (e, f, g) => [...get(f), ...get(g), 0x73, ...get(e), 0x71, ...get(g), 0x73],
  // (a & b) | (c & (a | b))
  majority: (a, b, c) => [...get(a), ...get(b), 0x71, ...get(a), ...get(b), 0x72, ...get(c), 0x71, 0x72],
  constant: (round) => i32(ROUND_CONSTANTS[round] ?? 0),
};

const LANES: Words = {
  type: V128,
  add: vector(174),
  xor: vector(81),
  sigma: (local, rotations, shift) => [
    ...rotations.flatMap((bits, at) => [
      ...[...get(local), ...i32(bits), ...vector(173)],
      ...(at > 0 ? vector(81) : []),
      ...[...get(local), ...i32(32 - bits), ...vector(171), ...vector(81)],
    ]),
    ...(shift === undefined ? [] : [...get(local), ...i32(shift), ...vector(173), ...vector(81)]),
  ],
  choose: (e, f, g) => [...get(f), ...get(g), ...get(e), ...vector(82)],
  majority: (a, b, c) => [...get(c), ...get(b), ...get(a), ...get(b), ...vector(81), ...vector(82)],
  constant: (round) => [...i32(0), ...vector(0), 4, ...unsigned(LAYOUT.constants + 16 * round)],
};

/** The module's bytes. */
export function sha256Module(): Uint8Array<ArrayBuffer> {
  const functions = [lanesFunction(), digestFunction(), tailFunction(), foldFunction()];
  const parameters = [4, 2, 3, 3];
  const names = ['lanes', 'digest', 'tail', 'fold'];
  const types = parameters.map((count) => [0x60, ...list(Array(count).fill([I32])), 0]);
  const exports = names.map((name, at) => [...text(name), 0, at]);
  return Uint8Array.from([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, list(types)),
    ...section(3, list(names.map((_, at) => [at]))),
    ...section(5, list([[0, MEMORY_PAGES]])),
    ...section(7, list([...exports, [...text('memory'), 2, 0]])),
    ...section(10, list(functions.map((body) => [...unsigned(body.length), ...body]))),
  ]);
}

/** Locals 0-3: blocks; 4-11: a to h; 12-27: the message schedule. */
function lanesFunction(): Code {
  const [state, schedule] = [range(4, 8), range(12, 16)];
  const swap = [3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12];
  const load = schedule.flatMap((local, word) => [
    ...[...i32(0), ...vector(0), 4, ...unsigned(LAYOUT.lanes)],
    ...range(0, 4).flatMap((block) => [
      0x21,
      local,
      ...get(block),
      ...get(local),
      ...vector(86),
      2,
      ...unsigned(4 * word),
      block,
    ]),
    ...[0x22, local, ...get(local), ...vector(13), ...swap, 0x21, local],
  ]);
  const address = (word: number) => [4, ...unsigned(LAYOUT.lanes + 16 * word)];
  return body(
    [[24, V128]],
    [
      ...load,
      ...state.flatMap((local, word) => [...i32(0), ...vector(0), ...address(word), 0x21, local]),
      ...rounds(LANES, state, schedule),
      ...state.flatMap((local, word) => [
        ...[...i32(0), ...i32(0), ...vector(0), ...address(word), ...get(local), ...LANES.add],
        ...[...vector(11), ...address(word)],
      ]),
    ],
  );
}

/** Local 2 is free for the exchange of bytes. */
function digestFunction(): Code {
  const word = (at: number) => [0x20, 0, 0x28, 2, ...unsigned(16 * at)];
  return body(
    [[1, I32]],
    range(0, 8).flatMap((at) => [0x20, 1, ...word(at), ...swapped(2), 0x36, 2, ...unsigned(4 * at)]),
  );
}

/** Parameters: message, length, target. Local 3: bytes that remain; 4: where the length goes. */
function tailFunction(): Code {
  const [remain, end] = [3, 4];
  return body(
    [[3, I32]],
    [
      ...[0x20, 2, ...i32(0), ...i32(128), 0xfc, 11, 0],
      ...[0x20, 1, ...i32(63), 0x71, 0x21, remain],
      ...[0x20, 2, 0x20, 0, 0x20, 1, 0x20, remain, 0x6b, 0x6a, 0x20, remain, 0xfc, 10, 0, 0],
      ...[0x20, 2, 0x20, remain, 0x6a, ...i32(0x80), 0x3a, 0, 0],
      // The last word of the first block, or of the second where nine bytes more do not fit.
      ...[0x20, 2, ...i32(60), ...i32(124), 0x20, remain, ...i32(56), 0x49, 0x1b, 0x6a, 0x21, end],
      ...[0x20, end, 0x20, 1, ...i32(3), 0x74, ...swapped(5), 0x36, 2, 0],
      // Bits beyond 2^32: none, a message is shorter.
    ],
  );
}

/** Parameters: PCR, digest, target. Locals 3-10: state; 11-26: schedule; 27-34: state between the two blocks; 35: free. */
function foldFunction(): Code {
  const [state, schedule, middle, free] = [range(3, 8), range(11, 16), range(27, 8), 35];
  const load = (from: number, locals: readonly number[]) =>
    locals.flatMap((local, at) => [0x20, from, 0x28, 2, ...unsigned(4 * at), ...swapped(free), 0x21, local]);
  const initial = (at: number) => i32(INITIAL_STATE[at] ?? 0);
  return body(
    [[33, I32]],
    [
      ...load(0, schedule.slice(0, 8)),
      ...load(1, schedule.slice(8)),
      ...state.flatMap((local, at) => [...initial(at), 0x21, local]),
      ...rounds(SCALAR, state, schedule),
      ...state.flatMap((local, at) => [
        ...[...get(local), ...initial(at), ...SCALAR.add, 0x22, middle[at] ?? 0, 0x21, local],
      ]),
      ...rounds(SCALAR, state, paddingSchedule()),
      ...state.flatMap((local, at) => [
        ...[...get(local), ...get(middle[at] ?? 0), ...SCALAR.add, ...swapped(free), 0x21, local],
        ...[0x20, 0, ...get(local), 0x36, 2, ...unsigned(4 * at), 0x20, 2, ...get(local), 0x36, 2, ...unsigned(4 * at)],
      ]),
    ],
  );
}

/** 64 rounds. `schedule`: sixteen locals, or the constants of all rounds with their words added already. */
function rounds(
  words: Words,
  state: readonly number[],
  schedule: readonly number[] | { readonly sums: readonly number[] },
): Code {
  const code: Code = [];
  for (let round = 0; round < 64; round++) {
    const local = (letter: number) => state[(letter + 64 - round) % 8] ?? 0;
    const [a, b, c, d, e, f, g, h] = range(0, 8).map(local) as [
      number,
      number,
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    let input: Code;
    if ('sums' in schedule) {
      input = [...i32(schedule.sums[round] ?? 0), ...words.add];
    } else {
      if (round >= 16) code.push(...extended(words, schedule, round));
      input = [...words.constant(round), ...words.add, ...get(schedule[round % 16] ?? 0), ...words.add];
    }
    code.push(
      ...[...get(h), ...input, ...words.choose(e, f, g), ...words.add],
      ...[...words.sigma(e, [6, 11, 25]), ...words.add, 0x22, h],
      ...[...get(d), ...words.add, 0x21, d],
      ...[...get(h), ...words.majority(a, b, c), ...words.add, ...words.sigma(a, [2, 13, 22]), ...words.add, 0x21, h],
    );
  }
  return code;
}

/** FIPS 180-4, 6.2.2: word `round` of the schedule takes the place of the one sixteen before it. */
function extended(words: Words, schedule: readonly number[], round: number): Code {
  const at = (back: number) => schedule[(round - back) % 16] ?? 0;
  return [
    ...[...get(at(16)), ...get(at(7)), ...words.add, ...words.sigma(at(15), [7, 18], 3), ...words.add],
    ...[...words.sigma(at(2), [17, 19], 10), ...words.add, 0x21, at(16)],
  ];
}

/** The second block of any message of 64 bytes is the same. */
function paddingSchedule(): { readonly sums: readonly number[] } {
  const words = [0x80000000, ...Array<number>(14).fill(0), 512];
  const rotate = (x: number, bits: number) => (x >>> bits) | (x << (32 - bits));
  for (let round = 16; round < 64; round++) {
    const [x, y] = [words[round - 15] ?? 0, words[round - 2] ?? 0];
    const low = rotate(x, 7) ^ rotate(x, 18) ^ (x >>> 3);
    const high = rotate(y, 17) ^ rotate(y, 19) ^ (y >>> 10);
    words.push(((words[round - 16] ?? 0) + low + (words[round - 7] ?? 0) + high) | 0);
  }
  return { sums: words.map((word, round) => (word + (ROUND_CONSTANTS[round] ?? 0)) | 0) };
}

/** The word on the stack in the other byte order; `free` is a local. */
function swapped(free: number): Code {
  const half = (rotation: number, mask: number) => [...get(free), ...i32(rotation), 0x77, ...i32(mask), 0x71];
  return [0x21, free, ...half(8, 0x00ff00ff), ...half(24, 0xff00ff00 | 0), 0x72];
}

function primes(count: number): number[] {
  const found: number[] = [];
  for (let n = 2; found.length < count; n++) if (found.every((prime) => n % prime !== 0)) found.push(n);
  return found;
}

function fraction(root: number): number {
  return ((root - Math.floor(root)) * 2 ** 32) | 0;
}

function range(from: number, count: number): number[] {
  return Array.from({ length: count }, (_, at) => from + at);
}

function get(local: number): Code {
  return [0x20, local];
}

function i32(value: number): Code {
  const code = [0x41];
  let rest = value;
  for (;;) {
    const low = rest & 0x7f;
    rest >>= 7;
    const done = (rest === 0 && (low & 0x40) === 0) || (rest === -1 && (low & 0x40) !== 0);
    code.push(done ? low : low | 0x80);
    if (done) return code;
  }
}

function vector(operation: number): Code {
  return [VECTOR, ...unsigned(operation)];
}

function unsigned(value: number): Code {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)];
}

function text(name: string): Code {
  return list([...name].map((letter) => [letter.charCodeAt(0)]));
}

function list(items: readonly Code[]): Code {
  return [...unsigned(items.length), ...items.flat()];
}

function section(id: number, content: Code): Code {
  return [id, ...unsigned(content.length), ...content];
}

function body(locals: readonly (readonly [number, number])[], code: Code): Code {
  return [...list(locals.map(([count, type]) => [...unsigned(count), type])), ...code, 0x0b];
}
