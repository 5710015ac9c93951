import { createECDH } from 'node:crypto';
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

/**
 * A new key on P-256 from OpenSSL's own generator. The encodings are of one length for every such key, so they are put
 * together here: OpenSSL's encoders take several times what the key takes. Byte for byte what they write.
 */
export function generateP256Key(): P256Key {
  const pair = createECDH('prime256v1');
  const point = pair.generateKeys();
  const scalar = pair.getPrivateKey();
  // Zeros in front are left out of it.
  const padding = new Uint8Array(SCALAR_LENGTH - scalar.length);
  const pkcs8 = concat(PKCS8_HEAD, padding, scalar, PUBLIC_KEY_HEAD, point);
  scalar.fill(0);
  return { spki: concat(SPKI_HEAD, point), pkcs8 };
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
