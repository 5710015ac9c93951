import { createPublicKey, type KeyObject } from 'node:crypto';
import { equalBytes } from '../bytes/equal.ts';
import { LacreError } from '../lacre-error.ts';

const CURVES: readonly string[] = ['prime256v1', 'secp384r1'];
const MAX_BYTES = 2048;

/**
 * Reads a SubjectPublicKeyInfo (RFC 5280, 4.1.2.7) of a kind that SVIDs may hold: P-256 or P-384 as a named curve, or
 * RSA of 2048 to 4096 bits with an odd exponent of at least 65537. The bytes are exactly the key's DER. That somebody
 * holds the private key is not proven.
 * Codes: identity.key.malformed, identity.key.refused.
 */
export function parsePublicKey(spki: Uint8Array): KeyObject {
  if (spki.length > MAX_BYTES) throw malformed();
  const key = readKey(spki);
  const details = key.asymmetricKeyDetails ?? {};
  if (key.asymmetricKeyType === 'ec' && CURVES.includes(details.namedCurve ?? '')) return key;
  const bits = details.modulusLength ?? 0;
  const exponent = details.publicExponent ?? 0n;
  const rsa = key.asymmetricKeyType === 'rsa' && bits >= 2048 && bits <= 4096;
  if (rsa && exponent >= 65_537n && exponent % 2n === 1n) return key;
  throw new LacreError('identity.key.refused', 'a key must be P-256, P-384 or RSA of 2048 to 4096 bits', {
    type: key.asymmetricKeyType ?? 'unknown',
  });
}

function readKey(spki: Uint8Array): KeyObject {
  try {
    const key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
    if (equalBytes(new Uint8Array(key.export({ format: 'der', type: 'spki' })), spki)) return key;
  } catch (error) {
    throw malformed(error);
  }
  throw malformed();
}

function malformed(cause?: unknown): LacreError {
  return new LacreError('identity.key.malformed', 'the public key is no SubjectPublicKeyInfo in DER', {}, { cause });
}
