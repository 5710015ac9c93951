import { createHash, createHmac } from 'node:crypto';
import { ByteWriter } from '../bytes/byte-writer.ts';
import { DIGEST_LENGTH, type HashName } from './constants.ts';

/** Text as bytes with the zero byte that the Library's labels end in. */
export function label(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(`${text}\0`));
}

/** KDFa (Part 1, 11.4.10.2): the counter mode of SP 800-108 with HMAC. `bits` is a multiple of 8. */
export function kdfa(
  hash: HashName,
  key: Uint8Array,
  use: string,
  contextU: Uint8Array,
  contextV: Uint8Array,
  bits: number,
): Uint8Array {
  return blocks(hash, bits, (counter) => {
    const input = new ByteWriter().u32(counter).bytes(label(use)).bytes(contextU).bytes(contextV).u32(bits).finish();
    return createHmac(hash, key).update(input).digest();
  });
}

/** KDFe (Part 1, 11.4.10.3): the concatenation KDF of SP 800-56A. `xU`, `xV`: x coordinates of both keys, padded. */
export function kdfe(
  hash: HashName,
  z: Uint8Array,
  use: string,
  xU: Uint8Array,
  xV: Uint8Array,
  bits: number,
): Uint8Array {
  return blocks(hash, bits, (counter) => {
    const input = new ByteWriter().u32(counter).bytes(z).bytes(label(use)).bytes(xU).bytes(xV).finish();
    return createHash(hash).update(input).digest();
  });
}

function blocks(hash: HashName, bits: number, block: (counter: number) => Uint8Array): Uint8Array {
  const length = bits / 8;
  const count = Math.ceil(length / DIGEST_LENGTH[hash]);
  const all = Buffer.concat(Array.from({ length: count }, (_, index) => block(index + 1)));
  return new Uint8Array(all.subarray(0, length));
}
