import { constants, type KeyObject, sign } from 'node:crypto';
import { ByteWriter } from '../../src/bytes/byte-writer.ts';
import { ALG, ATTRIBUTE, CURVE, GENERATED, HASH_ID, type HashName, TAG } from '../../src/tpm/constants.ts';
import { QUOTED_PCRS } from '../../src/tpm/quote.ts';

/** What forgePublicArea writes beside the key. */
export interface AreaOptions {
  readonly attributes: number;
  readonly nameAlg?: HashName;
  /** AES key bits of a storage key. */
  readonly cipherBits?: number;
  /** Signing scheme: TPM_ALG_ID and its hash. */
  readonly scheme?: { readonly algorithm: number; readonly hash: HashName };
}

export const AK_ATTRIBUTES: number =
  ATTRIBUTE.FIXED_TPM |
  ATTRIBUTE.FIXED_PARENT |
  ATTRIBUTE.SENSITIVE_DATA_ORIGIN |
  ATTRIBUTE.USER_WITH_AUTH |
  ATTRIBUTE.RESTRICTED |
  ATTRIBUTE.SIGN;
export const EK_ATTRIBUTES: number =
  ATTRIBUTE.FIXED_TPM |
  ATTRIBUTE.FIXED_PARENT |
  ATTRIBUTE.SENSITIVE_DATA_ORIGIN |
  ATTRIBUTE.ADMIN_WITH_POLICY |
  ATTRIBUTE.RESTRICTED |
  ATTRIBUTE.DECRYPT;

const CURVES: Readonly<Record<string, number>> = { 'P-256': CURVE.P256, 'P-384': CURVE.P384, 'P-521': CURVE.P521 };

/** TPMT_PUBLIC of a key that no TPM holds: what a liar would send, and what tests of the verifier need. */
export function forgePublicArea(key: KeyObject, options: AreaOptions): Uint8Array {
  const jwk = key.export({ format: 'jwk' });
  const isRsa = jwk.kty === 'RSA';
  const writer = new ByteWriter().u16(isRsa ? ALG.RSA : ALG.ECC).u16(HASH_ID[options.nameAlg ?? 'sha256']);
  writer.u32(options.attributes).u16(0);
  if (options.cipherBits === undefined) writer.u16(ALG.NULL);
  else writer.u16(ALG.AES).u16(options.cipherBits).u16(ALG.CFB);
  if (options.scheme === undefined) writer.u16(ALG.NULL);
  else writer.u16(options.scheme.algorithm).u16(HASH_ID[options.scheme.hash]);
  if (isRsa) {
    const modulus = base64url(jwk.n);
    return writer
      .u16(8 * modulus.length)
      .u32(0)
      .sized16(modulus)
      .finish();
  }
  const curve = CURVES[jwk.crv ?? ''] ?? 0;
  return writer.u16(curve).u16(ALG.NULL).sized16(base64url(jwk.x)).sized16(base64url(jwk.y)).finish();
}

/** Fields of a TPMS_ATTEST to forge. */
export interface AttestOptions {
  readonly extraData: Uint8Array;
  readonly pcrDigest: Uint8Array;
  readonly magic?: number;
  readonly type?: number;
  /** Banks with their bitmaps; by default SHA-256 with QUOTED_PCRS. */
  readonly banks?: readonly { readonly hash: number; readonly bitmap: Uint8Array }[];
  readonly resetCount?: number;
  /** Qualified Name of the key that signs. */
  readonly signer?: Uint8Array;
  /** Milliseconds. */
  readonly clock?: bigint;
  /** TPMI_YES_NO. */
  readonly safe?: number;
}

/** A TPMS_ATTEST as TPM2_Quote would make it, or not. */
export function forgeAttest(options: AttestOptions): Uint8Array {
  const writer = new ByteWriter()
    .u32(options.magic ?? GENERATED)
    .u16(options.type ?? TAG.ATTEST_QUOTE)
    .sized16(options.signer ?? new Uint8Array(34))
    .sized16(options.extraData)
    .u64(options.clock ?? 1_000n)
    .u32(options.resetCount ?? 1)
    .u32(0)
    .u8(options.safe ?? 1)
    .u64(7n);
  const banks = options.banks ?? [{ hash: ALG.SHA256, bitmap: bitmapOf(QUOTED_PCRS) }];
  writer.u32(banks.length);
  for (const { hash, bitmap } of banks) writer.u16(hash).u8(bitmap.length).bytes(bitmap);
  return writer.sized16(options.pcrDigest).finish();
}

/** Bitmap of three bytes, or of `length`. */
export function bitmapOf(pcrs: readonly number[], length = 3): Uint8Array {
  const bitmap = new Uint8Array(length);
  for (const pcr of pcrs) bitmap[pcr >> 3] = (bitmap[pcr >> 3] ?? 0) | (1 << (pcr & 7));
  return bitmap;
}

/** TPMT_SIGNATURE by a key in software. `saltLength`: RSAPSS only. */
export function softSignature(
  key: KeyObject,
  algorithm: number,
  hash: HashName,
  message: Uint8Array,
  saltLength: number = constants.RSA_PSS_SALTLEN_DIGEST,
): Uint8Array {
  const writer = new ByteWriter().u16(algorithm).u16(HASH_ID[hash]);
  if (algorithm === ALG.ECDSA) {
    const signature = sign(hash, message, { key, dsaEncoding: 'ieee-p1363' });
    const half = signature.length / 2;
    return writer
      .sized16(stripZeros(signature.subarray(0, half)))
      .sized16(stripZeros(signature.subarray(half)))
      .finish();
  }
  const padding = algorithm === ALG.RSASSA ? constants.RSA_PKCS1_PADDING : constants.RSA_PKCS1_PSS_PADDING;
  const options = algorithm === ALG.RSASSA ? { key, padding } : { key, padding, saltLength };
  return writer.sized16(sign(hash, message, options)).finish();
}

/** Some TPMs write numbers without their leading zeros. */
function stripZeros(bytes: Uint8Array): Uint8Array {
  const first = bytes.findIndex((byte) => byte !== 0);
  return bytes.subarray(Math.max(0, first));
}

function base64url(text: string | undefined): Uint8Array {
  return new Uint8Array(Buffer.from(text ?? '', 'base64url'));
}
