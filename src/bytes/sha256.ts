import { createHash, hash } from 'node:crypto';
import { fromHex } from './hex.ts';

/** SHA-256 of the concatenation of `parts`: 32 bytes. */
export function sha256(...parts: Uint8Array[]): Uint8Array {
  const digest = createHash('sha256');
  for (const part of parts) digest.update(part);
  return new Uint8Array(digest.digest());
}

/** SHA-256 as 64 lower-case hexadecimal digits: the faster form where text is wanted. */
export function sha256Hex(bytes: Uint8Array): string {
  return hash('sha256', bytes, 'hex');
}

export const ZERO_SHA256: Uint8Array = fromHex('00'.repeat(32));
