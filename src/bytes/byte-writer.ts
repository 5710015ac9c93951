import { LacreError } from '../lacre-error.ts';

/** Builds a structure from integers and byte strings; grows as needed. */
export class ByteWriter {
  readonly #littleEndian: boolean;
  #bytes = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  constructor(options: { littleEndian?: boolean } = {}) {
    this.#littleEndian = options.littleEndian ?? false;
  }

  u8(value: number): this {
    const at = this.#grow(1);
    this.#view.setUint8(at, value);
    return this;
  }

  u16(value: number): this {
    const at = this.#grow(2);
    this.#view.setUint16(at, value, this.#littleEndian);
    return this;
  }

  u32(value: number): this {
    const at = this.#grow(4);
    this.#view.setUint32(at, value, this.#littleEndian);
    return this;
  }

  u64(value: bigint): this {
    const at = this.#grow(8);
    this.#view.setBigUint64(at, value, this.#littleEndian);
    return this;
  }

  bytes(value: Uint8Array): this {
    const at = this.#grow(value.length);
    this.#bytes.set(value, at);
    return this;
  }

  /** A byte string behind a 16-bit length (TPM2B). Throws bytes.oversized over 65,535 bytes. */
  sized16(value: Uint8Array): this {
    if (value.length > 0xffff) {
      throw new LacreError('bytes.oversized', `${value.length} bytes do not fit behind a 16-bit length`, {
        length: value.length,
      });
    }
    return this.u16(value.length).bytes(value);
  }

  /** A copy of what was written. */
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  /** Reserves `length` bytes; may replace both buffers, so they are named only after it returned. */
  #grow(length: number): number {
    const start = this.#length;
    const needed = start + length;
    if (needed > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
      larger.set(this.#bytes.subarray(0, start));
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    this.#length = needed;
    return start;
  }
}
