import { LacreError } from '../lacre-error.ts';

/**
 * Reads integers and byte strings from untrusted bytes, never past their end. Views are returned, not copies: the
 * caller must not change the source while it uses them.
 */
export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #what: string;
  readonly #littleEndian: boolean;
  #offset = 0;

  /** @param what name of the structure, for messages; `littleEndian` is the byte order of every integer read. */
  constructor(bytes: Uint8Array, what: string, options: { littleEndian?: boolean } = {}) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#what = what;
    this.#littleEndian = options.littleEndian ?? false;
  }

  get offset(): number {
    return this.#offset;
  }

  get remaining(): number {
    return this.#bytes.length - this.#offset;
  }

  u8(): number {
    return this.#view.getUint8(this.#advance(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#advance(2), this.#littleEndian);
  }

  u32(): number {
    return this.#view.getUint32(this.#advance(4), this.#littleEndian);
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.#advance(8), this.#littleEndian);
  }

  /** The next `length` bytes, as a view. Throws bytes.truncated. */
  bytes(length: number): Uint8Array {
    const start = this.#advance(length);
    return this.#bytes.subarray(start, start + length);
  }

  /** A byte string behind a 16-bit length of at most `maxBytes`. Throws bytes.truncated, bytes.oversized. */
  sized16(maxBytes: number): Uint8Array {
    return this.bytes(this.#bounded(this.u16(), maxBytes));
  }

  /** A byte string behind a 32-bit length of at most `maxBytes`. Throws bytes.truncated, bytes.oversized. */
  sized32(maxBytes: number): Uint8Array {
    return this.bytes(this.#bounded(this.u32(), maxBytes));
  }

  /** Throws bytes.trailing unless all was read. */
  end(): void {
    if (this.remaining > 0) {
      throw new LacreError(
        'bytes.trailing',
        `${this.#what}: ${this.remaining} bytes are left over at offset ${this.#offset}`,
        {
          offset: this.#offset,
          remaining: this.remaining,
        },
      );
    }
  }

  #bounded(length: number, maxBytes: number): number {
    if (length > maxBytes) {
      throw new LacreError(
        'bytes.oversized',
        `${this.#what}: a length of ${length} at offset ${this.#offset} is over ${maxBytes}`,
        {
          offset: this.#offset,
          length,
          maxBytes,
        },
      );
    }
    return length;
  }

  #advance(length: number): number {
    const start = this.#offset;
    if (length < 0 || length > this.remaining) {
      throw new LacreError(
        'bytes.truncated',
        `${this.#what} ends at ${this.#bytes.length}; ${length} bytes are needed at offset ${start}`,
        {
          offset: start,
          needed: length,
          size: this.#bytes.length,
        },
      );
    }
    this.#offset = start + length;
    return start;
  }
}
