import type { Readable } from 'node:stream';
import { Code, ConnectError } from '@connectrpc/connect';
import { PREFIX_BYTES } from '../grpc-call.ts';
import { LacreError } from '../lacre-error.ts';

/**
 * The messages of a call's request in their order. The peer may send on only when those that came were taken, and no
 * message is held that is over the bound. Ends with server.protocol or server.limit, or a ConnectError where the call was
 * given up.
 */
export class GrpcReader implements AsyncIterator<Uint8Array> {
  readonly #stream: Readable;
  readonly #maxBytes: number;
  readonly #messages: Uint8Array[] = [];
  #parts: Buffer[] = [];
  #length = 0;
  /** Bytes of parts with which something is whole: a prefix, or a message. */
  #needs = PREFIX_BYTES;
  #end: { readonly error?: unknown } | undefined;
  #waiting: PromiseWithResolvers<IteratorResult<Uint8Array>> | undefined;

  constructor(stream: Readable, maxBytes: number) {
    this.#stream = stream;
    this.#maxBytes = maxBytes;
    stream.on('data', (bytes: Buffer) => this.#take(bytes));
    stream.once('end', () =>
      this.#finish(this.#length > 0 ? protocol('the request ends within a message') : undefined),
    );
    stream.once('close', () => this.#finish(new ConnectError('the call was given up', Code.Canceled)));
  }

  async next(): Promise<IteratorResult<Uint8Array>> {
    const message = this.#messages.shift();
    if (message !== undefined) {
      if (this.#messages.length === 0) this.#stream.resume();
      return { done: false, value: message };
    }
    if (this.#end !== undefined) return this.#ended(this.#end.error);
    this.#waiting = Promise.withResolvers();
    return this.#waiting.promise;
  }

  #take(bytes: Buffer): void {
    if (this.#end !== undefined) return;
    this.#parts.push(bytes);
    this.#length += bytes.length;
    try {
      while (this.#length >= this.#needs && this.#takeOne());
    } catch (error) {
      this.#finish(error);
    }
    if (this.#messages.length > 0) this.#stream.pause();
  }

  /** False where a message is known to be longer than what came. */
  #takeOne(): boolean {
    const all = this.#parts.length === 1 ? (this.#parts[0] as Buffer) : Buffer.concat(this.#parts);
    this.#parts = [all];
    if (all[0] !== 0) throw protocol('a message is compressed');
    const end = PREFIX_BYTES + all.readUInt32BE(1);
    if (end > PREFIX_BYTES + this.#maxBytes) {
      throw new LacreError('server.limit', `a message is over its bound of ${this.#maxBytes} bytes`);
    }
    this.#needs = end;
    if (all.length < end) return false;
    this.#emit(new Uint8Array(all.buffer, all.byteOffset + PREFIX_BYTES, end - PREFIX_BYTES));
    this.#length = all.length - end;
    this.#parts = this.#length === 0 ? [] : [all.subarray(end)];
    this.#needs = PREFIX_BYTES;
    return true;
  }

  #emit(message: Uint8Array): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting === undefined) this.#messages.push(message);
    else waiting.resolve({ done: false, value: message });
  }

  #finish(error: unknown): void {
    if (this.#end !== undefined) return;
    this.#end = { error };
    this.#parts = [];
    if (error !== undefined) this.#waiting?.reject(error);
    else this.#waiting?.resolve({ done: true, value: undefined });
    this.#waiting = undefined;
  }

  #ended(error: unknown): IteratorResult<Uint8Array> {
    if (error !== undefined) throw error;
    return { done: true, value: undefined };
  }
}

function protocol(sentence: string): LacreError {
  return new LacreError('server.protocol', sentence);
}
