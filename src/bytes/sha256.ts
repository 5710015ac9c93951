import { createHash, hash } from 'node:crypto';
import { fromHex } from './hex.ts';

const BYTES = 32;
/** Parts that are hashed in one call: leaves and the extra data of quotes are shorter. */
const joined = new Uint8Array(512);

/** SHA-256 of the concatenation of `parts`: 32 bytes. */
export function sha256(...parts: Uint8Array[]): Uint8Array {
  const [only] = parts;
  if (parts.length === 1 && only !== undefined) return binaryBytes(hash('sha256', only, 'binary'));
  let length = 0;
  for (const part of parts) {
    if (length + part.length > joined.length) return sha256InParts(parts);
    joined.set(part, length);
    length += part.length;
  }
  return binaryBytes(hash('sha256', joined.subarray(0, length), 'binary'));
}

/** An object for a hash costs more than to hash what is short. */
function sha256InParts(parts: readonly Uint8Array[]): Uint8Array {
  const digest = createHash('sha256');
  for (const part of parts) digest.update(part);
  return new Uint8Array(digest.digest());
}

/** SHA-256 as 64 lower-case hexadecimal digits: the faster form where text is wanted. */
export function sha256Hex(bytes: Uint8Array): string {
  return hash('sha256', bytes, 'hex');
}

/** Of a digest as text: a Buffer from OpenSSL costs three times as much as the hash of a short message. */
function binaryBytes(text: string): Uint8Array {
  const bytes = new Uint8Array(BYTES);
  for (let at = 0; at < BYTES; at++) bytes[at] = text.charCodeAt(at);
  return bytes;
}

export const ZERO_SHA256: Uint8Array = fromHex('00'.repeat(BYTES));
