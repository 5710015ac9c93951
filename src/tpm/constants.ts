/** Numbers of the TPM 2.0 Library, Part 2 (revision 1.59), as far as Lacre uses them. */

/** TPM_ALG_ID, Part 2, 6.3. */
export const ALG = {
  RSA: 0x0001,
  SHA1: 0x0004,
  AES: 0x0006,
  SHA256: 0x000b,
  SHA384: 0x000c,
  SHA512: 0x000d,
  NULL: 0x0010,
  RSASSA: 0x0014,
  RSAPSS: 0x0016,
  ECDSA: 0x0018,
  ECC: 0x0023,
  CFB: 0x0043,
} as const;

/** TPM_ECC_CURVE, Part 2, 6.4. */
export const CURVE = { P256: 0x0003, P384: 0x0004, P521: 0x0005 } as const;

/** TPM_CC, Part 2, 6.5.2. */
export const COMMAND = {
  CREATE_PRIMARY: 0x131,
  STARTUP: 0x144,
  ACTIVATE_CREDENTIAL: 0x147,
  CERTIFY: 0x148,
  NV_READ: 0x14e,
  POLICY_SECRET: 0x151,
  CREATE: 0x153,
  LOAD: 0x157,
  QUOTE: 0x158,
  FLUSH_CONTEXT: 0x165,
  NV_READ_PUBLIC: 0x169,
  READ_PUBLIC: 0x173,
  START_AUTH_SESSION: 0x176,
  GET_CAPABILITY: 0x17a,
  PCR_READ: 0x17e,
  READ_CLOCK: 0x181,
  PCR_EXTEND: 0x182,
} as const;

/** TPM_ST, Part 2, 6.9. */
export const TAG = {
  NO_SESSIONS: 0x8001,
  SESSIONS: 0x8002,
  ATTEST_CERTIFY: 0x8017,
  ATTEST_QUOTE: 0x8018,
} as const;

/** TPM_RH, Part 2, 7.4. */
export const HANDLE = { OWNER: 0x40000001, NULL: 0x40000007, PASSWORD: 0x40000009, ENDORSEMENT: 0x4000000b } as const;

/** TPM_RC, Part 2, 6.6.3: the codes that a client acts on. */
export const RC = {
  SUCCESS: 0x000,
  INITIALIZE: 0x100,
  OBJECT_MEMORY: 0x902,
  SESSION_MEMORY: 0x903,
  YIELDED: 0x908,
  TESTING: 0x90a,
  REFERENCE_H0: 0x910,
  NV_RATE: 0x920,
  RETRY: 0x922,
  /** Format-one codes, without the number of the handle, session or parameter. */
  HANDLE: 0x08b,
  VALUE: 0x084,
  INTEGRITY: 0x09f,
} as const;

/** TPM_GENERATED_VALUE, Part 2, 6.2: no external data signed by a restricted key may begin with it. */
export const GENERATED = 0xff544347;

/** TPMA_OBJECT, Part 2, 8.3. */
export const ATTRIBUTE = {
  FIXED_TPM: 1 << 1,
  ST_CLEAR: 1 << 2,
  FIXED_PARENT: 1 << 4,
  SENSITIVE_DATA_ORIGIN: 1 << 5,
  USER_WITH_AUTH: 1 << 6,
  ADMIN_WITH_POLICY: 1 << 7,
  NO_DA: 1 << 10,
  ENCRYPTED_DUPLICATION: 1 << 11,
  RESTRICTED: 1 << 16,
  DECRYPT: 1 << 17,
  SIGN: 1 << 18,
  X509_SIGN: 1 << 19,
} as const;

/** Names that node:crypto gives to hashes. SHA-1 is left out: nothing that Lacre verifies may rest on it. */
export type HashName = 'sha256' | 'sha384' | 'sha512';

const HASHES: ReadonlyMap<number, HashName> = new Map([
  [ALG.SHA256, 'sha256'],
  [ALG.SHA384, 'sha384'],
  [ALG.SHA512, 'sha512'],
]);

/** The hash of a TPM_ALG_ID; undefined for SHA-1 and for what is no hash. */
export function hashOf(algorithm: number): HashName | undefined {
  return HASHES.get(algorithm);
}

/** PCR banks that evidence may be of. A node has one of them, for as long as it is in the inventory. */
export type PcrBank = 'sha256' | 'sha384';

/** Bytes of a digest. */
export const DIGEST_LENGTH: Readonly<Record<HashName, number>> = { sha256: 32, sha384: 48, sha512: 64 };

/** TPM_ALG_ID of a hash. */
export const HASH_ID: Readonly<Record<HashName, number>> = {
  sha256: ALG.SHA256,
  sha384: ALG.SHA384,
  sha512: ALG.SHA512,
};
