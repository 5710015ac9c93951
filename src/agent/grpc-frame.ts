import { LacreError } from '../lacre-error.ts';

/** gRPC over HTTP/2, "Length-Prefixed-Message": one byte that says whether it is compressed, four of length, the message. */
const PREFIX_BYTES = 5;

/** No request of the Workload API holds anything; this is room for fields of a later standard. */
export const MAX_REQUEST_BYTES = 4096;

/** A message as one frame, uncompressed. */
export function encodeFrame(message: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(PREFIX_BYTES + message.length);
  frame[0] = 0;
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, PREFIX_BYTES);
  return frame;
}

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

/** Status message as it stands in the trailer: percent-encoded outside printable ASCII (gRPC over HTTP/2, "Status-Message"). */
export function encodeStatusMessage(text: string): string {
  const bytes = Buffer.from(text, 'utf8');
  let encoded = '';
  for (const byte of bytes) {
    const plain = byte >= 0x20 && byte <= 0x7e && byte !== 0x25;
    encoded += plain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return encoded;
}
