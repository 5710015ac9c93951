import { constants, createHash, type KeyObject, publicEncrypt } from 'node:crypto';
import { at } from '../bytes/at.ts';
import { ByteWriter } from '../bytes/byte-writer.ts';
import { DIGEST_LENGTH, type HashName } from './constants.ts';
import { label } from './key-derivation.ts';

/**
 * RSAES-OAEP encryption (RFC 8017, 7.1.1), with the seed as argument: node:crypto draws its own, and a link draws none.
 * Hash and mask hash are the same, as Part 1, B.4 asks; the label ends in a zero byte.
 *
 * @param seed fresh random bytes, as many as the hash has; `message` at most modulus - 2 * hash - 2 bytes
 */
export function encryptOaep(
  key: KeyObject,
  hash: HashName,
  use: string,
  message: Uint8Array,
  seed: Uint8Array,
): Uint8Array {
  const { n } = key.export({ format: 'jwk' });
  const modulusBytes = Buffer.from(String(n), 'base64url').length;
  const hashBytes = DIGEST_LENGTH[hash];
  const padding = new Uint8Array(modulusBytes - 2 * hashBytes - 2 - message.length);
  const labelHash = createHash(hash).update(label(use)).digest();
  const block = Buffer.concat([labelHash, padding, Uint8Array.of(1), message]);
  const maskedBlock = xor(block, mask(hash, seed, block.length));
  const maskedSeed = xor(seed, mask(hash, maskedBlock, hashBytes));
  const encoded = Buffer.concat([Uint8Array.of(0), maskedSeed, maskedBlock]);
  return new Uint8Array(publicEncrypt({ key, padding: constants.RSA_NO_PADDING }, encoded));
}

/** MGF1, RFC 8017, B.2.1: at least `length` bytes, whole digests. */
function mask(hash: HashName, seed: Uint8Array, length: number): Uint8Array {
  const count = Math.ceil(length / DIGEST_LENGTH[hash]);
  const blocks = Array.from({ length: count }, (_, counter) =>
    createHash(hash).update(new ByteWriter().bytes(seed).u32(counter).finish()).digest(),
  );
  return Buffer.concat(blocks);
}

function xor(a: Uint8Array, b: Uint8Array): Uint8Array {
  return a.map((byte, index) => byte ^ at(b, index));
}
