import { ByteReader } from '../bytes/byte-reader.ts';
import { isLacreError, LacreError } from '../lacre-error.ts';

/**
 * Reads one TPM structure (big-endian, Part 1, 10) that fills `bytes` wholly. What the reader finds truncated,
 * oversized or left over becomes tpm.malformed, with the structure's name.
 *
 * @param maxBytes bound on the whole structure
 */
export function readStructure<T>(
  bytes: Uint8Array,
  what: string,
  maxBytes: number,
  read: (reader: ByteReader) => T,
): T {
  if (bytes.length > maxBytes) throw malformed(what, `${bytes.length} bytes are over ${maxBytes}`);
  try {
    const reader = new ByteReader(bytes, what);
    const value = read(reader);
    reader.end();
    return value;
  } catch (error) {
    if (!isLacreError(error, 'bytes.truncated', 'bytes.oversized', 'bytes.trailing')) throw error;
    throw new LacreError('tpm.malformed', error.message, error.details, { cause: error });
  }
}

/** A tpm.malformed error about one structure. */
export function malformed(what: string, fault: string): LacreError {
  return new LacreError('tpm.malformed', `${what}: ${fault}`, { structure: what });
}

/** A tpm.unsupported error: `kind` is algorithm, curve, scheme and the like, `value` its number. */
export function unsupported(what: string, kind: string, value: number): LacreError {
  return new LacreError('tpm.unsupported', `${what}: ${kind} 0x${value.toString(16)} is not accepted`, {
    structure: what,
    kind,
    value,
  });
}

/** Asserts the length of a value that Lacre itself supplies. Throws tpm.argument. */
export function requireLength(name: string, bytes: Uint8Array, length: number): Uint8Array {
  if (bytes.length === length) return bytes;
  throw new LacreError('tpm.argument', `${name} has ${bytes.length} bytes instead of ${length}`, {
    name,
    length: bytes.length,
  });
}
