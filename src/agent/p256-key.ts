import { createECDH, randomFillSync } from 'node:crypto';
import { fromHex } from '../bytes/hex.ts';

/** A key pair as certificates and workloads take it. */
export interface P256Key {
  /** SubjectPublicKeyInfo, DER, 91 bytes. */
  readonly spki: Uint8Array;
  /** PrivateKeyInfo, DER, 138 bytes, the public key in it. */
  readonly pkcs8: Uint8Array;
}

/** RFC 5480, 2: id-ecPublicKey on secp256r1, and the bit string's head; the uncompressed point follows. */
const SPKI_HEAD = fromHex('3059301306072a8648ce3d020106082a8648ce3d030107034200');
/** RFC 5958, 2 with RFC 5915, 3: version 0, the same algorithm, ECPrivateKey version 1; the scalar follows. */
const PKCS8_HEAD = fromHex('308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420');
/** [1] publicKey of ECPrivateKey; the point follows. */
const PUBLIC_KEY_HEAD = fromHex('a144034200');
const SCALAR_LENGTH = 32;
/** SEC 2, 2.4.2: the order of the base point, big-endian. */
const ORDER = fromHex('ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551');
const ZERO = new Uint8Array(SCALAR_LENGTH);

/**
 * A new key on P-256: a scalar of OpenSSL's random bytes, and its point by OpenSSL's constant-time multiplication. Its own
 * generator takes twice as long, for the objects around the same steps. The encodings are of one length for every such
 * key, so they are put together here. Byte for byte what OpenSSL writes.
 */
export function generateP256Key(): P256Key {
  const scalar = randomScalar();
  const pair = createECDH('prime256v1');
  pair.setPrivateKey(scalar);
  const point = pair.getPublicKey();
  const pkcs8 = concat(PKCS8_HEAD, scalar, PUBLIC_KEY_HEAD, point);
  scalar.fill(0);
  return { spki: concat(SPKI_HEAD, point), pkcs8 };
}

/** FIPS 186-5, A.2.2: random bits until they are a number from 1 to the order less one; each is as likely. */
function randomScalar(): Uint8Array {
  const scalar = new Uint8Array(SCALAR_LENGTH);
  do randomFillSync(scalar);
  while (!isScalar(scalar));
  return scalar;
}

/** Whether 32 bytes, big-endian, are a private key of the curve: not zero, and less than the order. */
export function isScalar(bytes: Uint8Array): boolean {
  return Buffer.compare(bytes, ORDER) < 0 && Buffer.compare(bytes, ZERO) > 0;
}

/** Never from a pool that other bytes share: what is cut out of it would hold a private key next to them. */
function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}
