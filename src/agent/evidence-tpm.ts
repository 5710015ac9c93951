import type { SavedKey } from './state-dir.ts';

/** A quote as the TPM made it. */
export interface Quote {
  /** TPMS_ATTEST */
  readonly attest: Uint8Array;
  /** TPMT_SIGNATURE */
  readonly signature: Uint8Array;
}

/** What attestation needs of a TPM; TpmClient is one. */
export interface AttestationTpm {
  /** `public` is a TPMT_PUBLIC; `certificate` DER, undefined where the TPM holds none. */
  createEndorsementKey(): Promise<{ readonly public: Uint8Array; readonly certificate: Uint8Array | undefined }>;
  /** Certificates of the EK's issuers that the TPM holds, DER. */
  readIntermediates(): Promise<Uint8Array[]>;
  /** Loads the saved key, or makes a new one where it is left out. `public` is a TPMT_PUBLIC. */
  createAttestationKey(saved?: SavedKey): Promise<SavedKey>;
  /** Both with their size in front, as the server sends them. Returns the secret. */
  activateCredential(credentialBlob: Uint8Array, encryptedSecret: Uint8Array): Promise<Uint8Array>;
  /** Quotes sha256:0-10,12-14 with 32 bytes of extra data. */
  quote(extraData: Uint8Array): Promise<Quote>;
  close(): Promise<void>;
}
