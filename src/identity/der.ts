import { LacreError } from '../lacre-error.ts';

/** Tags of X.690 that certificates use. */
export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utf8String: 0x0c,
  sequence: 0x30,
  set: 0x31,
  utcTime: 0x17,
  generalizedTime: 0x18,
} as const;

/**
 * Reads DER (X.690, 10) and nothing laxer: definite, minimal lengths, low tag numbers. What is read is well-formed;
 * nothing is proven. Code: identity.der.malformed.
 */
export class DerReader {
  readonly #bytes: Uint8Array;
  readonly #what: string;
  #offset = 0;

  /** @param what names the structure in messages. */
  constructor(bytes: Uint8Array, what: string) {
    this.#bytes = bytes;
    this.#what = what;
  }

  get atEnd(): boolean {
    return this.#offset === this.#bytes.length;
  }

  /** Tag of the next element; -1 at the end. */
  get nextTag(): number {
    return this.#bytes[this.#offset] ?? -1;
  }

  /** Contents of the next element, which must have this tag. */
  read(tag: number): Uint8Array {
    return this.#next(tag).contents;
  }

  /** The next element with its tag and length. */
  readWhole(tag: number): Uint8Array {
    return this.#next(tag).whole;
  }

  /** As `read`, or undefined where the next element has another tag. */
  readOptional(tag: number): Uint8Array | undefined {
    return this.nextTag === tag ? this.read(tag) : undefined;
  }

  /** A reader of the contents of the next element. */
  enter(tag: number): DerReader {
    return new DerReader(this.read(tag), this.#what);
  }

  /** Refuses what is left over. */
  end(): void {
    if (!this.atEnd) throw this.#malformed('bytes are left over');
  }

  #next(tag: number): { whole: Uint8Array; contents: Uint8Array } {
    const start = this.#offset;
    if (this.nextTag !== tag) throw this.#malformed(`tag 0x${tag.toString(16)} is expected at byte ${start}`);
    const { length, headerLength } = this.#length(start + 1);
    const from = start + 1 + headerLength;
    if (from + length > this.#bytes.length) throw this.#malformed(`the element at byte ${start} is cut off`);
    this.#offset = from + length;
    return { whole: this.#bytes.subarray(start, this.#offset), contents: this.#bytes.subarray(from, this.#offset) };
  }

  #length(at: number): { length: number; headerLength: number } {
    const first = this.#bytes[at] ?? 0x80;
    if (first < 0x80) return { length: first, headerLength: 1 };
    const count = first & 0x7f;
    if (count === 0 || count > 3) throw this.#malformed(`the length at byte ${at} is not definite or too large`);
    let length = 0;
    for (let index = 1; index <= count; index++) length = length * 256 + (this.#bytes[at + index] ?? 0);
    if (length < 0x80 || length < 256 ** (count - 1)) throw this.#malformed(`the length at byte ${at} is not minimal`);
    return { length, headerLength: 1 + count };
  }

  #malformed(why: string): LacreError {
    return new LacreError('identity.der.malformed', `${this.#what} is not DER: ${why}`, { what: this.#what });
  }
}

/**
 * Dotted form of an object identifier's contents (X.690, 8.19). Throws identity.der.malformed for one with a part in
 * more bytes than it needs, or cut off: two encodings must not read as the same identifier.
 */
export function oidText(contents: Uint8Array): string {
  const parts: number[] = [];
  let value = 0;
  let begun = false;
  for (const byte of contents) {
    if (byte === 0x80 && !begun) throw malformedOid();
    value = value * 128 + (byte & 0x7f);
    begun = byte >= 0x80;
    if (!begun) {
      parts.push(value);
      value = 0;
    }
  }
  const [first, ...rest] = parts;
  if (first === undefined || begun) throw malformedOid();
  const root = Math.min(2, Math.floor(first / 40));
  return [root, first - 40 * root, ...rest].join('.');
}

function malformedOid(): LacreError {
  return new LacreError('identity.der.malformed', 'an object identifier is not DER: a part is too long or cut off');
}

/** A DER element: tag, minimal length, contents. */
export function der(tag: number, ...parts: Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  if (length > 0xffff) throw new LacreError('identity.der.malformed', 'an element over 65535 bytes is not written');
  const out = new Uint8Array(1 + size.length + length);
  out[0] = tag;
  out.set(size, 1);
  let offset = 1 + size.length;
  for (const part of parts) {
    out.set(part, offset);
    offset += part.length;
  }
  return out;
}

export function derSequence(...parts: Uint8Array[]): Uint8Array {
  return der(TAG.sequence, ...parts);
}

/** An object identifier from its dotted form. */
export function derOid(text: string): Uint8Array {
  const [first = 0, second = 0, ...rest] = text.split('.').map(Number);
  const contents: number[] = [];
  for (const part of [first * 40 + second, ...rest]) {
    const digits = [part & 0x7f];
    for (let left = Math.floor(part / 128); left > 0; left = Math.floor(left / 128))
      digits.unshift((left & 0x7f) | 0x80);
    contents.push(...digits);
  }
  return der(TAG.oid, Uint8Array.from(contents));
}

/** A non-negative integer from its big-endian bytes. */
export function derInteger(magnitude: Uint8Array): Uint8Array {
  let start = 0;
  while (start < magnitude.length - 1 && magnitude[start] === 0) start++;
  const minimal = magnitude.subarray(start);
  const [first = 0x80] = minimal;
  return first >= 0x80 ? der(TAG.integer, Uint8Array.of(0), minimal) : der(TAG.integer, minimal);
}

export function derBitString(bytes: Uint8Array, unusedBits = 0): Uint8Array {
  return der(TAG.bitString, Uint8Array.of(unusedBits), bytes);
}

/** UTCTime to 2049, GeneralizedTime from 2050 (RFC 5280, 4.1.2.5); whole seconds, UTC. */
export function derTime(time: Date): Uint8Array {
  const year = time.getUTCFullYear();
  const short = year >= 1950 && year < 2050;
  // "2026-11-27T13:06:59.000Z"
  const text = time.toISOString();
  const day = text.slice(short ? 2 : 0, 4) + text.slice(5, 7) + text.slice(8, 10);
  const digits = `${day}${text.slice(11, 13)}${text.slice(14, 16)}${text.slice(17, 19)}Z`;
  return der(short ? TAG.utcTime : TAG.generalizedTime, ascii(digits));
}

export function ascii(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'latin1'));
}
