import { malformed } from './structure.ts';

const SEQUENCE = 0x30;
const MAX_SEQUENCES = 16;

/**
 * The DER sequence that `bytes` begin with, without what follows: NV indices are often larger than the certificate in
 * them. Throws tpm.malformed where they begin with none or end within it.
 */
export function trimDer(bytes: Uint8Array): Uint8Array {
  return bytes.slice(0, sequenceLength(bytes));
}

/** DER sequences one after the other, up to the first byte that begins none (padding); at most 16. */
export function splitDer(bytes: Uint8Array): Uint8Array[] {
  const parts: Uint8Array[] = [];
  let rest = bytes;
  while (rest[0] === SEQUENCE && parts.length < MAX_SEQUENCES) {
    const part = trimDer(rest);
    parts.push(part);
    rest = rest.subarray(part.length);
  }
  return parts;
}

/** Bytes of the outermost sequence with its header (X.690, 8.1.3: definite lengths of up to three bytes). */
function sequenceLength(bytes: Uint8Array): number {
  const [tag, first = 0x80] = bytes;
  const lengthBytes = first < 0x80 ? 0 : first & 0x7f;
  const isIndefinite = first === 0x80;
  if (tag !== SEQUENCE || isIndefinite || lengthBytes > 3) throw malformed('certificate', 'it is no DER sequence');
  const long = bytes.subarray(2, 2 + lengthBytes).reduce((sum, byte) => 256 * sum + byte, 0);
  const total = 2 + lengthBytes + (lengthBytes === 0 ? first : long);
  if (total > bytes.length) throw malformed('certificate', `it states ${total} bytes, and ${bytes.length} are there`);
  return total;
}
