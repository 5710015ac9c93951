import type { ByteReader } from '../bytes/byte-reader.ts';
import { ByteWriter } from '../bytes/byte-writer.ts';
import { buildCommand, EMPTY_PASSWORD, type TpmCommand } from './command.ts';
import { ALG, COMMAND, HANDLE, HASH_ID, type HashName, type PcrBank } from './constants.ts';
import { pcrSelection } from './platform-commands.ts';

const MAX_PUBLIC_BYTES = 1024;
const MAX_PRIVATE_BYTES = 2048;
const MAX_BLOB_BYTES = 2048;
/** TPM_SE_POLICY, Part 2, 6.11. */
const POLICY_SESSION = 1;
const NONCE_BYTES = 16;

/** A key that the TPM made and loaded. */
export interface LoadedKey {
  /** Transient handle, to be flushed. */
  readonly handle: number;
  /** TPMT_PUBLIC, as the TPM says. */
  readonly public: Uint8Array;
}

/** A key that the TPM made for later loading. Only this TPM can load it: the private half is encrypted to its parent. */
export interface WrappedKey {
  /** TPM2B_PRIVATE without its size. */
  readonly private: Uint8Array;
  /** TPMT_PUBLIC. */
  readonly public: Uint8Array;
}

/** TPM2_CreatePrimary in the endorsement hierarchy (Part 3, 24.1), with empty authorization and `template`. */
export function createEndorsementPrimary(template: Uint8Array): TpmCommand<LoadedKey> {
  return buildCommand({
    name: 'TPM2_CreatePrimary',
    code: COMMAND.CREATE_PRIMARY,
    handles: [HANDLE.ENDORSEMENT],
    sessions: [EMPTY_PASSWORD],
    parameters: creation(template),
    isSlow: true,
    answersHandle: true,
    read: (reader, handle) => {
      const area = reader.sized16(MAX_PUBLIC_BYTES).slice();
      reader.bytes(reader.remaining); // creation data, its ticket, the name: nothing rests on them
      return { handle, public: area };
    },
  });
}

/** TPM2_Create below `parent` (Part 3, 12.1); `session` authorizes the parent. */
export function createChild(parent: number, session: number, template: Uint8Array): TpmCommand<WrappedKey> {
  return buildCommand({
    name: 'TPM2_Create',
    code: COMMAND.CREATE,
    handles: [parent],
    sessions: [session],
    parameters: creation(template),
    isSlow: true,
    read: (reader) => {
      const wrapped = reader.sized16(MAX_PRIVATE_BYTES).slice();
      const area = reader.sized16(MAX_PUBLIC_BYTES).slice();
      reader.bytes(reader.remaining);
      return { private: wrapped, public: area };
    },
  });
}

/** TPM2_Load (Part 3, 12.2): the answer is a transient handle. */
export function loadChild(parent: number, session: number, key: WrappedKey): TpmCommand<number> {
  return buildCommand({
    name: 'TPM2_Load',
    code: COMMAND.LOAD,
    handles: [parent],
    sessions: [session],
    parameters: new ByteWriter().sized16(key.private).sized16(key.public).finish(),
    answersHandle: true,
    read: (reader, handle) => {
      reader.bytes(reader.remaining);
      return handle;
    },
  });
}

/** TPM2_ReadPublic (Part 3, 12.4): the TPMT_PUBLIC of a loaded or persistent object. */
export function readPublic(handle: number): TpmCommand<Uint8Array> {
  return buildCommand({
    name: 'TPM2_ReadPublic',
    code: COMMAND.READ_PUBLIC,
    handles: [handle],
    read: (reader) => {
      const area = reader.sized16(MAX_PUBLIC_BYTES).slice();
      reader.bytes(reader.remaining);
      return area;
    },
  });
}

/** TPM2_FlushContext (Part 3, 28.4): the handle is a parameter of this command. */
export function flushContext(handle: number): TpmCommand<void> {
  return buildCommand({
    name: 'TPM2_FlushContext',
    code: COMMAND.FLUSH_CONTEXT,
    parameters: new ByteWriter().u32(handle).finish(),
    read: () => undefined,
  });
}

/**
 * TPM2_StartAuthSession (Part 3, 11.1) of an unbound, unsalted policy session: it carries no secret, so nothing would be
 * won by encryption. `nonce`: 16 fresh bytes.
 */
export function startPolicySession(hash: HashName, nonce: Uint8Array): TpmCommand<number> {
  const parameters = new ByteWriter()
    .sized16(nonce.subarray(0, NONCE_BYTES))
    .u16(0)
    .u8(POLICY_SESSION)
    .u16(ALG.NULL)
    .u16(HASH_ID[hash]);
  return buildCommand({
    name: 'TPM2_StartAuthSession',
    code: COMMAND.START_AUTH_SESSION,
    handles: [HANDLE.NULL, HANDLE.NULL],
    parameters: parameters.finish(),
    answersHandle: true,
    read: (reader, handle) => {
      reader.sized16(64);
      return handle;
    },
  });
}

/** TPM2_PolicySecret (Part 3, 23.4) with the endorsement hierarchy's (empty) authorization: what an EK's policy asks. */
export function policySecretEndorsement(session: number): TpmCommand<void> {
  return buildCommand({
    name: 'TPM2_PolicySecret',
    code: COMMAND.POLICY_SECRET,
    handles: [HANDLE.ENDORSEMENT, session],
    sessions: [EMPTY_PASSWORD],
    // nonceTPM, cpHashA, policyRef: none; expiration: never
    parameters: new ByteWriter().u16(0).u16(0).u16(0).u32(0).finish(),
    read: (reader) => {
      reader.bytes(reader.remaining);
    },
  });
}

/**
 * TPM2_ActivateCredential (Part 3, 12.5): the secret, if the TPM holds both keys. `credential` is a TPM2B_ID_OBJECT,
 * `secret` a TPM2B_ENCRYPTED_SECRET, both with sizes.
 */
export function activateCredential(
  key: number,
  ek: number,
  ekSession: number,
  credential: Uint8Array,
  secret: Uint8Array,
): TpmCommand<Uint8Array> {
  return buildCommand({
    name: 'TPM2_ActivateCredential',
    code: COMMAND.ACTIVATE_CREDENTIAL,
    handles: [key, ek],
    sessions: [EMPTY_PASSWORD, ekSession],
    parameters: new ByteWriter().bytes(credential).bytes(secret).finish(),
    read: (reader) => reader.sized16(64).slice(),
  });
}

/** What TPM2_Quote answers. */
export interface QuoteAnswer {
  /** TPMS_ATTEST. */
  readonly attest: Uint8Array;
  /** TPMT_SIGNATURE. */
  readonly signature: Uint8Array;
}

/** TPM2_Quote (Part 3, 18.4) over PCRs of one bank, in the key's own scheme. */
export function quotePcrs(
  key: number,
  extraData: Uint8Array,
  bank: PcrBank,
  pcrs: readonly number[],
): TpmCommand<QuoteAnswer> {
  return buildCommand({
    name: 'TPM2_Quote',
    code: COMMAND.QUOTE,
    handles: [key],
    sessions: [EMPTY_PASSWORD],
    parameters: new ByteWriter().sized16(extraData).u16(ALG.NULL).bytes(pcrSelection(bank, pcrs)).finish(),
    read: (reader: ByteReader) => {
      const attest = reader.sized16(MAX_BLOB_BYTES).slice();
      return { attest, signature: reader.bytes(reader.remaining).slice() };
    },
  });
}

/** TPM2_Certify (Part 3, 18.2) of a key with an empty password, by an attestation key in its own scheme. */
export function certifyKey(object: number, key: number, extraData: Uint8Array): TpmCommand<QuoteAnswer> {
  return buildCommand({
    name: 'TPM2_Certify',
    code: COMMAND.CERTIFY,
    handles: [object, key],
    sessions: [EMPTY_PASSWORD, EMPTY_PASSWORD],
    parameters: new ByteWriter().sized16(extraData).u16(ALG.NULL).finish(),
    read: (reader) => {
      const attest = reader.sized16(MAX_BLOB_BYTES).slice();
      return { attest, signature: reader.bytes(reader.remaining).slice() };
    },
  });
}

/** inSensitive (empty), inPublic, outsideInfo, creationPCR: none. */
function creation(template: Uint8Array): Uint8Array {
  const sensitive = new ByteWriter().u16(0).u16(0).finish();
  return new ByteWriter().sized16(sensitive).sized16(template).u16(0).u32(0).finish();
}
