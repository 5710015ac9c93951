/**
 * A copy in memory of its own, for what is kept for long: a small Buffer that Node makes is a part of 64 KiB, all of which
 * stay for as long as any part is kept.
 */
export function ownBuffer(bytes: Uint8Array): Buffer<ArrayBuffer> {
  const copy = Buffer.alloc(bytes.length);
  copy.set(bytes);
  return copy;
}
