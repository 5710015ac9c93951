import { random16 } from '../bytes/random-16.ts';

/** RFC 5280, 4.1.2.2: positive, at most 20 bytes; the first bit is clear, so that 16 bytes stay 16. */
export function freshSerial(): Uint8Array {
  const serial = random16();
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
  return serial;
}
