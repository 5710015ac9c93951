import { PREFIX_BYTES } from '../grpc-call.ts';
import { LacreError } from '../lacre-error.ts';

/** No request of the Workload API holds anything; this is room for fields of a later standard. */
export const MAX_REQUEST_BYTES = 4096;

/** Takes the one frame of a unary or server-streaming request out of bytes as they come, and holds no more than its bound. */
export class FrameReader {
  readonly #parts: Buffer[] = [];
  #length = 0;

  /**
   * Adds bytes. Returns the message once it is whole, undefined before.
   * Codes: agent.workload.message for a compressed or oversized message, or bytes after it.
   */
  push(bytes: Buffer): Uint8Array | undefined {
    this.#length += bytes.length;
    if (this.#length > PREFIX_BYTES + MAX_REQUEST_BYTES) throw fault(`it is longer than ${MAX_REQUEST_BYTES} bytes`);
    this.#parts.push(bytes);
    if (this.#length < PREFIX_BYTES) return undefined;
    const all = Buffer.concat(this.#parts);
    if (all[0] !== 0) throw fault('it is compressed');
    const length = all.readUInt32BE(1);
    if (length > MAX_REQUEST_BYTES) throw fault(`it is longer than ${MAX_REQUEST_BYTES} bytes`);
    if (all.length > PREFIX_BYTES + length) throw fault('a second message follows it');
    return all.length === PREFIX_BYTES + length ? new Uint8Array(all.subarray(PREFIX_BYTES)) : undefined;
  }
}

function fault(what: string): LacreError {
  return new LacreError('agent.workload.message', `the request message can't be read: ${what}`);
}
