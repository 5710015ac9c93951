import { createCipheriv, createECDH, createHmac } from 'node:crypto';
import { at } from '../bytes/at.ts';
import { ByteWriter } from '../bytes/byte-writer.ts';
import { LacreError } from '../lacre-error.ts';
import { attributeFaults } from './attestation-key.ts';
import { ATTRIBUTE, DIGEST_LENGTH } from './constants.ts';
import { kdfa, kdfe } from './key-derivation.ts';
import { encryptOaep } from './oaep.ts';
import type { PublicArea, StorageCipher } from './public-area.ts';
import { type Curve, leftPad, namedCurve } from './public-key.ts';

/** `length` bytes that nobody else can predict. */
export type RandomBytes = (length: number) => Uint8Array;

/** What TPM2_ActivateCredential takes. */
export interface Credential {
  /** TPM2B_ID_OBJECT, with its size. */
  readonly credentialBlob: Uint8Array;
  /** TPM2B_ENCRYPTED_SECRET, with its size. */
  readonly encryptedSecret: Uint8Array;
}

interface Seed {
  readonly seed: Uint8Array;
  /** Content of TPM2B_ENCRYPTED_SECRET. */
  readonly encrypted: Uint8Array;
}

/** A storage key that protects credentials: checked by requireStorageKey. */
type StorageKey = PublicArea & { readonly symmetric: StorageCipher };

const REQUIRED = {
  restricted: ATTRIBUTE.RESTRICTED,
  decrypt: ATTRIBUTE.DECRYPT,
  fixedTPM: ATTRIBUTE.FIXED_TPM,
  fixedParent: ATTRIBUTE.FIXED_PARENT,
  sensitiveDataOrigin: ATTRIBUTE.SENSITIVE_DATA_ORIGIN,
} as const;

const FORBIDDEN = { sign: ATTRIBUTE.SIGN, encryptedDuplication: ATTRIBUTE.ENCRYPTED_DUPLICATION } as const;

/**
 * TPM2_MakeCredential (Part 1, 24; Part 3, 12.6) in software. Only a TPM that holds the private half of `ek` *and* an
 * object of this very Name can give `secret` back: what proves that an attestation key lives beside an EK.
 *
 * @param name Name of the attestation key, recomputed from its public area: nameAlg and digest
 * @param secret at most as long as the EK's name digest (32 bytes)
 *
 * Throws tpm.ek.attributes, tpm.unsupported.
 */
export function makeCredential(input: {
  readonly ek: PublicArea;
  readonly name: Uint8Array;
  readonly secret: Uint8Array;
  readonly random: RandomBytes;
}): Credential {
  const { name, secret } = input;
  const ek = requireStorageKey(input.ek);
  const hash = ek.nameAlg;
  if (secret.length === 0 || secret.length > DIGEST_LENGTH[hash]) {
    throw new LacreError('tpm.argument', `a credential of ${secret.length} bytes does not fit ${hash}`);
  }
  const { seed, encrypted } =
    ek.curve === undefined ? seedForRsa(ek, input.random) : seedForEcc(ek, namedCurve(ek.curve), input.random);
  const none = new Uint8Array();
  const cipherKey = kdfa(hash, seed, 'STORAGE', name, none, ek.symmetric.keyBits);
  const cipher = createCipheriv(`aes-${ek.symmetric.keyBits}-cfb`, cipherKey, new Uint8Array(16));
  const identity = cipher.update(new ByteWriter().sized16(secret).finish());
  const macKey = kdfa(hash, seed, 'INTEGRITY', none, none, 8 * DIGEST_LENGTH[hash]);
  const mac = createHmac(hash, macKey).update(identity).update(name).digest();
  const idObject = new ByteWriter().sized16(mac).bytes(identity).finish();
  return {
    credentialBlob: new ByteWriter().sized16(idObject).finish(),
    encryptedSecret: new ByteWriter().sized16(encrypted).finish(),
  };
}

/** Checks that a public area describes a restricted decryption key that never leaves its TPM. Throws tpm.ek.attributes. */
export function requireStorageKey(area: PublicArea): StorageKey {
  const faults = attributeFaults(area.attributes, REQUIRED, FORBIDDEN);
  const { symmetric } = area;
  if (symmetric !== undefined && faults.length === 0) return { ...area, symmetric };
  const all = [...faults, ...(symmetric === undefined ? ['it has no storage cipher'] : [])].join(', ');
  throw new LacreError('tpm.ek.attributes', `the endorsement key does not fit: ${all}`, { faults: all });
}

/** Part 1, B.10.4: a random seed, by OAEP to the EK. */
function seedForRsa(ek: StorageKey, random: RandomBytes): Seed {
  const length = DIGEST_LENGTH[ek.nameAlg];
  const seed = random(length);
  return { seed, encrypted: encryptOaep(ek.key, ek.nameAlg, 'IDENTITY', seed, random(length)) };
}

/** Part 1, C.6.4: one-pass Diffie-Hellman with an ephemeral key, whose point is the encrypted secret. */
function seedForEcc(ek: StorageKey, curve: Curve, random: RandomBytes): Seed {
  const ours = ephemeralKey(curve, random);
  const theirs = uncompressedPoint(ek, curve);
  const z = leftPad(ours.computeSecret(theirs), curve.coordinateBytes);
  const point = ours.getPublicKey();
  const x = point.subarray(1, 1 + curve.coordinateBytes);
  const y = point.subarray(1 + curve.coordinateBytes);
  const bits = 8 * DIGEST_LENGTH[ek.nameAlg];
  const theirX = theirs.subarray(1, 1 + curve.coordinateBytes);
  return {
    seed: kdfe(ek.nameAlg, z, 'IDENTITY', x, theirX, bits),
    encrypted: new ByteWriter().sized16(x).sized16(y).finish(),
  };
}

const MAX_DRAWS = 64;

/** A private key drawn by rejection: a draw at or over the curve's order is thrown away (P-521 keeps half of them). */
function ephemeralKey(curve: Curve, random: RandomBytes): ReturnType<typeof createECDH> {
  const ecdh = createECDH(curve.ecdhName);
  for (let draw = 0; draw < MAX_DRAWS; draw++) {
    const candidate = random(curve.coordinateBytes).slice();
    if (curve.name === 'P-521') candidate[0] = at(candidate, 0) & 1;
    try {
      ecdh.setPrivateKey(candidate);
      return ecdh;
    } catch {
      // Zero, or not below the order.
    }
  }
  throw new LacreError('tpm.argument', 'the source of randomness yields no private key', { curve: curve.name });
}

function uncompressedPoint(ek: PublicArea, curve: Curve): Uint8Array {
  return ek.spki.subarray(ek.spki.length - 1 - 2 * curve.coordinateBytes);
}
