import { createHash, hash } from 'node:crypto';
import { fromHex } from './hex.ts';

const BYTES = 32;

/** SHA-256 of the concatenation of `parts`: 32 bytes. */
export function sha256(...parts: Uint8Array[]): Uint8Array {
  const [only] = parts;
  if (parts.length === 1 && only !== undefined) return binaryBytes(hash('sha256', only, 'binary'));
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
