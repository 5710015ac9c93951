import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { LacreError } from '../lacre-error.ts';

/** DESIGN section 8: chunks of at most this size travel. */
export const CHUNK_BYTES = 512 * 1024;
const COUNT_BYTES = 16;

/**
 * The kernel's binary measurement list, read once from one place to its end, and then what is added. The file stays open:
 * the kernel continues where the last read ended, so a poll costs no copy of what was read before.
 */
export class MeasurementList {
  readonly #path: string;
  readonly #file: FileHandle;
  readonly #regular: boolean;
  readonly #buffer = Buffer.allocUnsafe(CHUNK_BYTES);
  #position = 0;
  #count = -1;
  #countFd: number | undefined;
  readonly #countBuffer = Buffer.allocUnsafeSlow(COUNT_BYTES);

  private constructor(path: string, file: FileHandle, regular: boolean) {
    this.#path = path;
    this.#file = file;
    this.#regular = regular;
  }

  /**
   * Opens the list, and passes over its first `offset` bytes.
   * Codes: agent.list.unreadable; agent.list.shrunk where the list has less than `offset` bytes.
   */
  static async open(path: string, offset = 0): Promise<MeasurementList> {
    const file = await open(path, 'r').catch((cause) => {
      throw unreadable(path, cause);
    });
    const size = (await file.stat()).size;
    // securityfs tells no size; only a list that is a file on a disk has one, and then no count beside it.
    const list = new MeasurementList(path, file, size > 0);
    try {
      await list.#skip(offset);
      return list;
    } catch (error) {
      await list.close();
      throw error;
    }
  }

  /** Bytes read so far, from the list's beginning. */
  get position(): number {
    return this.#position;
  }

  /**
   * The next bytes, at most 512 KiB, as a copy of their own; empty: the end as it was at the call.
   * Codes: agent.list.unreadable, agent.list.shrunk.
   */
  async read(): Promise<Uint8Array> {
    await this.#checkSize();
    const bytes = await this.#fill(CHUNK_BYTES);
    return new Uint8Array(bytes);
  }

  /**
   * Whether a poll would find something: false only where the kernel's count of entries is what it was when this was
   * last asked, or a list on a disk has no more bytes than were read. Codes: agent.list.shrunk.
   */
  grew(): boolean {
    if (this.#regular) return fstatSync(this.#file.fd).size !== this.#position;
    const text = this.#countText();
    if (!/^\d{1,12}\n?$/.test(text)) return true;
    const count = Number(text);
    if (count < this.#count) throw shrunk(this.#path, `it has ${count} entries, and had ${this.#count}`);
    const grew = count > this.#count;
    this.#count = count;
    return grew;
  }

  /** The kernel makes it while it is read, so that no disk holds this up; it costs a tenth of an asynchronous read. */
  #countText(): string {
    try {
      this.#countFd ??= openSync(join(dirname(this.#path), 'runtime_measurements_count'), 'r');
      return this.#countBuffer.toString('latin1', 0, readSync(this.#countFd, this.#countBuffer, 0, COUNT_BYTES, 0));
    } catch {
      return '';
    }
  }

  async close(): Promise<void> {
    if (this.#countFd !== undefined) closeSync(this.#countFd);
    this.#countFd = undefined;
    await this.#file.close().catch(() => undefined);
  }

  async #skip(offset: number): Promise<void> {
    while (this.#position < offset) {
      const bytes = await this.#fill(offset - this.#position);
      if (bytes.length > 0) continue;
      throw shrunk(this.#path, `it has ${this.#position} bytes, and the server knows ${offset}`);
    }
  }

  /** Fills a chunk as far as the list goes: securityfs gives a page or so at a time. */
  async #fill(most: number): Promise<Buffer> {
    const limit = Math.min(most, CHUNK_BYTES);
    let length = 0;
    try {
      while (length < limit) {
        const { bytesRead } = await this.#file.read(this.#buffer, length, limit - length, null);
        if (bytesRead === 0) break;
        length += bytesRead;
      }
    } catch (cause) {
      throw unreadable(this.#path, cause);
    }
    this.#position += length;
    return this.#buffer.subarray(0, length);
  }

  async #checkSize(): Promise<void> {
    if (!this.#regular) return;
    const { size } = await this.#file.stat();
    if (size < this.#position) throw shrunk(this.#path, `it has ${size} bytes, and had ${this.#position}`);
  }
}

function unreadable(path: string, cause: unknown): LacreError {
  const reason = (cause as NodeJS.ErrnoException).code ?? String(cause);
  return new LacreError(
    'agent.list.unreadable',
    `the measurement list ${path} can't be read: ${reason}`,
    { path },
    { cause },
  );
}

function shrunk(path: string, how: string): LacreError {
  return new LacreError('agent.list.shrunk', `the measurement list ${path} is shorter than before: ${how}`, { path });
}
