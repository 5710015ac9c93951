import { randomFillSync } from 'node:crypto';

const BYTES = 16;
/** Drawn together: a call for 16 bytes costs as much as for many. */
const pool = new Uint8Array(256 * BYTES);
let used = pool.length;

/** 16 bytes that nobody else has got: for what is unique, not for what is secret. */
export function random16(): Uint8Array {
  if (used === pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  used += BYTES;
  return pool.slice(used - BYTES, used);
}
