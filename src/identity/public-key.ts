import { createPublicKey, type KeyObject } from 'node:crypto';
import { equalBytes } from '../bytes/equal.ts';
import { fromHex, toHex } from '../bytes/hex.ts';
import { LacreError } from '../lacre-error.ts';
import { DerReader, TAG } from './der.ts';

const MAX_BYTES = 2048;
/** AlgorithmIdentifier of a named curve (RFC 5480, 2.1.1), by the point's length: only the uncompressed form is taken. */
const CURVES: ReadonlyMap<string, number> = new Map([
  ['301306072a8648ce3d020106082a8648ce3d030107', 65],
  ['301006072a8648ce3d020106052b81040022', 97],
]);
/** Everything of a P-256 key's SubjectPublicKeyInfo before the point's coordinates: it has one encoding. */
const P256_HEAD = fromHex('3059301306072a8648ce3d020106082a8648ce3d03010703420004');
const P256_COORDINATE = 32;
/** FIPS 186-5 and SP 800-186, 3.2.1.3: y² = x³ - 3x + b over the integers modulo p. */
const P256_P = 0xffffffff00000001000000000000000000000000ffffffffffffffffffffffffn;
const P256_B = 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn;
/** rsaEncryption (RFC 3279, 2.3.1). */
const RSA = '300d06092a864886f70d0101010500';

/**
 * Holds bytes to be a SubjectPublicKeyInfo (RFC 5280, 4.1.2.7) of a kind that SVIDs may hold: P-256 or P-384 as a named curve with
 * an uncompressed point, or RSA of 2048 to 4096 bits with an odd exponent of at least 65537. The bytes are exactly the
 * key's DER. That somebody holds the private key is not proven.
 * Codes: identity.key.malformed, identity.key.refused, identity.der.malformed.
 */
export function requirePublicKey(spki: Uint8Array): void {
  const isP256 = spki.length === P256_HEAD.length + 2 * P256_COORDINATE && startsWith(spki, P256_HEAD);
  if (!isP256) parsePublicKey(spki);
  else if (!isOnP256(spki.subarray(P256_HEAD.length))) throw malformed();
}

/** As requirePublicKey, and the key for what it has to verify. Same codes. */
export function parsePublicKey(spki: Uint8Array): KeyObject {
  if (spki.length > MAX_BYTES) throw malformed();
  const outer = new DerReader(spki, 'the public key');
  const info = outer.enter(TAG.sequence);
  outer.end();
  const algorithm = toHex(info.readWhole(TAG.sequence));
  const bits = info.read(TAG.bitString);
  info.end();
  const pointLength = CURVES.get(algorithm);
  const uncompressed = bits[0] === 0 && bits[1] === 4 && bits.length - 1 === pointLength;
  if (algorithm !== RSA && !uncompressed) throw refused();
  const key = readKey(spki);
  if (algorithm === RSA) checkRsa(key);
  return key;
}

/** Public arithmetic on a public value: what OpenSSL does when it reads the key, at a tenth of that call's cost. */
function isOnP256(point: Uint8Array): boolean {
  const x = BigInt(`0x${toHex(point.subarray(0, P256_COORDINATE))}`);
  const y = BigInt(`0x${toHex(point.subarray(P256_COORDINATE))}`);
  if (x >= P256_P || y >= P256_P) return false;
  return (y * y - ((x * x - 3n) * x + P256_B)) % P256_P === 0n;
}

function startsWith(bytes: Uint8Array, head: Uint8Array): boolean {
  return equalBytes(bytes.subarray(0, head.length), head);
}

function checkRsa(key: KeyObject): void {
  const bits = key.asymmetricKeyDetails?.modulusLength;
  const exponent = key.asymmetricKeyDetails?.publicExponent;
  const sized = bits !== undefined && bits >= 2048 && bits <= 4096;
  if (!sized || exponent === undefined || exponent < 65_537n || exponent % 2n === 0n) throw refused();
}

/** OpenSSL checks that a point lies on its curve. */
function readKey(spki: Uint8Array): KeyObject {
  try {
    const key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
    if (equalBytes(new Uint8Array(key.export({ format: 'der', type: 'spki' })), spki)) return key;
  } catch (error) {
    throw malformed(error);
  }
  throw malformed();
}

function refused(): LacreError {
  return new LacreError('identity.key.refused', 'a key must be P-256, P-384 or RSA of 2048 to 4096 bits');
}

function malformed(cause?: unknown): LacreError {
  return new LacreError('identity.key.malformed', 'the public key is no SubjectPublicKeyInfo in DER', {}, { cause });
}
