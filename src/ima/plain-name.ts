const NOT_PLAIN = -1;
const [PRIME, SPREAD] = [0x01000193, 0x85ebca6b];

/**
 * A number from 0 to 2^31 - 1 for a name that the list spells as it is: printable ASCII without space and backslash, as
 * nearly every path. -1 for any other. Equal names have equal numbers; who wants, finds many names with one number, so
 * nothing may rest on it but where a search begins.
 */
export function plainNameHash(bytes: Uint8Array, start: number, end: number): number {
  let hash = end - start;
  let at = start;
  for (; at + 4 <= end; at += 4) {
    const word =
      (bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24);
    if (hasOther(word)) return NOT_PLAIN;
    hash = Math.imul(hash ^ word, SPREAD);
    hash ^= hash >>> 15;
  }
  for (; at < end; at++) {
    const byte = bytes[at] as number;
    if (byte <= 0x20 || byte >= 0x7f || byte === 0x5c) return NOT_PLAIN;
    hash = Math.imul(hash ^ byte, PRIME);
  }
  return (hash ^ (hash >>> 13)) & 0x7fffffff;
}

/** Whether one of four bytes is no plain character: over 0x7e, below 0x21, or a backslash. All four are looked at together. */
function hasOther(word: number): boolean {
  const high = (word | (word + 0x01010101)) & 0x80808080;
  const backslashes = word ^ 0x5c5c5c5c;
  const low = ((word - 0x21212121) & ~word) | ((backslashes - 0x01010101) & ~backslashes);
  return (high | (low & 0x80808080)) !== 0;
}
